import { queryOptions } from "@tanstack/react-query";
import { api } from "../api/client";

export const oauthAppsQuery = queryOptions({
  queryKey: ["oauth-apps"],
  queryFn: ({ signal }) => api.oauthApps(signal),
});

export const oauthAppQuery = (id: string) =>
  queryOptions({ queryKey: ["oauth-apps", id], queryFn: ({ signal }) => api.oauthApp(id, signal) });

/** The presets are part of the server: one reading is enough. */
export const presetsQuery = queryOptions({
  queryKey: ["presets"],
  queryFn: ({ signal }) => api.presets(signal),
  staleTime: Infinity,
});

export const dataSourcesQuery = queryOptions({
  queryKey: ["data-sources"],
  queryFn: ({ signal }) => api.dataSources(signal),
  staleTime: 30_000,
});

/** What follows from a slug: the redirect URI, and the URL of the public key. */
export const redirectURIQuery = (slug: string) =>
  queryOptions({
    queryKey: ["redirect-uri", slug],
    queryFn: ({ signal }) => api.redirectURI(slug, signal),
    enabled: slug !== "",
    staleTime: Infinity,
  });
