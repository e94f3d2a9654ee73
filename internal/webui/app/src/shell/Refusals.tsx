import { Button } from "@mantine/core";
import { IconCompass, IconLock } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { type ReactNode, use } from "react";
import { strings } from "../strings";
import { EmptyState } from "../ui/EmptyState";
import { isAdmin, MeContext, useMe } from "./me";
import { Page } from "./Page";

export function NotFound() {
  const t = strings.notFound;
  return (
    <Page title={t.title}>
      <div className="card">
        <EmptyState icon={IconCompass} title={t.why} action={<HomeButton label={t.action} />} />
      </div>
    </Page>
  );
}

function Forbidden() {
  const t = strings.forbidden;
  const me = useMe();
  return (
    <Page title={t.title}>
      <div className="card">
        <EmptyState icon={IconLock} title={t.why(me.username)} action={<HomeButton label={t.action} />}>
          {t.remedy}
        </EmptyState>
      </div>
    </Page>
  );
}

function HomeButton({ label }: { label: string }) {
  return <Button renderRoot={(props) => <Link to="/query" {...props} />}>{label}</Button>;
}

/** Its children for admins, and the 403 page for everybody else. The server decides again on each call. */
export function AdminOnly({ children }: { children: ReactNode }) {
  const me = use(MeContext);
  return me !== undefined && isAdmin(me) ? children : <Forbidden />;
}
