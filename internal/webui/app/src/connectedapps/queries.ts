import { queryOptions } from "@tanstack/react-query";
import { api } from "../api/client";

export const connectedAppsQuery = queryOptions({
  queryKey: ["connected-apps"],
  queryFn: ({ signal }) => api.connectedApps(signal),
  staleTime: 10_000,
});
