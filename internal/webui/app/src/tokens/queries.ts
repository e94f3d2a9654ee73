import { queryOptions } from "@tanstack/react-query";
import { api } from "../api/client";

export const tokensQuery = queryOptions({
  queryKey: ["tokens"],
  queryFn: ({ signal }) => api.tokens(signal),
  staleTime: 10_000,
});
