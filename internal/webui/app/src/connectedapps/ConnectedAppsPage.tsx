import { Button } from "@mantine/core";
import { IconPlugConnected } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { isAdmin, useMe } from "../shell/me";
import { Page } from "../shell/Page";
import { EmptyState } from "../ui/EmptyState";
import { Listing } from "../ui/Listing";
import { AppCard } from "./AppCard";
import classes from "./ConnectedApps.module.css";
import { connectedAppsQuery } from "./queries";
import { connectedApps as t } from "./strings";

/** The apps that the signed-in person can connect, and what became of each. */
export function ConnectedAppsPage() {
  const me = useMe();
  // A status changes by itself: a token ends, an admin pauses. A minute is soon enough for what people read.
  const apps = useQuery({ ...connectedAppsQuery, refetchInterval: 60_000 });
  return (
    <Page title={t.title} lead={t.lead}>
      <Listing
        query={apps}
        empty={
          <EmptyState
            icon={IconPlugConnected}
            title={t.emptyTitle}
            action={
              isAdmin(me) && (
                <Button renderRoot={(props) => <Link to="/admin/oauth-apps/new" {...props} />}>{t.registerApp}</Button>
              )
            }
          >
            {isAdmin(me) ? t.emptyAdmin : t.empty}
          </EmptyState>
        }
      >
        {(rows) => (
          <ul className={classes.cards}>
            {rows.map((app) => (
              <AppCard key={app.app} app={app} />
            ))}
          </ul>
        )}
      </Listing>
    </Page>
  );
}
