import { infiniteQueryOptions } from "@tanstack/react-query";
import { api } from "../api/client";
import { filterOf, type Search } from "./search";

export const auditQuery = (search: Search) =>
  infiniteQueryOptions({
    queryKey: ["audit", search],
    queryFn: ({ pageParam, signal }) => api.audit({ ...filterOf(search), cursor: pageParam || undefined }, signal),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor || undefined,
    staleTime: 5_000,
  });
