import { queryOptions } from "@tanstack/react-query";
import { createContext, useContext } from "react";
import { api, type Me } from "../api/client";

export const meQuery = queryOptions({ queryKey: ["me"], queryFn: ({ signal }) => api.me(signal), staleTime: 60_000 });

export const MeContext = createContext<Me | undefined>(undefined);

/** The signed-in person. The shell has them before any screen is drawn. */
export function useMe(): Me {
  const me = useContext(MeContext);
  if (me === undefined) throw new Error("useMe outside the shell");
  return me;
}

export function isAdmin(me: Me): boolean {
  return me.roles.includes("admin");
}
