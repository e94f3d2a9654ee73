import { Burger, Drawer } from "@mantine/core";
import { IconActivity, IconApps, IconHistory, IconShieldOff, IconStack3, IconTableSpark, IconTopologyStar3 } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useLocation } from "@tanstack/react-router";
import { type ComponentType, useEffect, useRef, useState } from "react";
import { strings } from "../strings";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Loading } from "../ui/Loading";
import { Logo } from "./Logo";
import { isAdmin, MeContext, meQuery } from "./me";
import { SessionGuard } from "./SessionGuard";
import classes from "./Shell.module.css";
import { UserMenu } from "./UserMenu";

const t = strings.nav;

/** The frame of every screen: where one can go, who one is, and the screen itself. */
export function Shell() {
  const me = useQuery(meQuery);
  const [open, setOpen] = useState(false);
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  useEffect(() => setOpen(false), [pathname]);

  if (me.isPending) {
    return (
      <div className={classes.alone}>
        <Loading lines={3} />
      </div>
    );
  }
  if (me.isError) {
    return (
      <main className={classes.alone}>
        <ErrorBlock error={me.error} onRetry={() => void me.refetch()} />
      </main>
    );
  }
  const rail = (id: string) => (
    <div className={classes.nav}>
      <ul>
        <RailItem to="/query" icon={IconTableSpark} label={t.query} />
        <RailItem to="/pre-aggregations" icon={IconStack3} label={t.preAggregations} />
      </ul>
      <h2 className={classes.section} id={`${id}-activity`}>
        {t.activity}
      </h2>
      <ul aria-labelledby={`${id}-activity`}>
        <RailItem to="/activity/queries" icon={IconActivity} label={t.queries} />
        {isAdmin(me.data) && <RailItem to="/activity/orchestrators" icon={IconTopologyStar3} label={t.orchestrators} />}
      </ul>
      {isAdmin(me.data) && (
        <>
          <h2 className={classes.section} id={id}>
            {t.admin} <span aria-hidden>›</span> {t.integrations}
          </h2>
          <ul aria-labelledby={id}>
            <RailItem to="/admin/oauth-apps" icon={IconApps} label={t.oauthApps} />
          </ul>
          <h2 className={classes.section} id={`${id}-security`}>
            {t.admin} <span aria-hidden>›</span> {t.security}
          </h2>
          <ul aria-labelledby={`${id}-security`}>
            <RailItem to="/admin/revocations" icon={IconShieldOff} label={t.revocations} />
            <RailItem to="/admin/audit" icon={IconHistory} label={t.audit} />
          </ul>
        </>
      )}
    </div>
  );
  return (
    <MeContext value={me.data}>
      <a
        href="#main"
        className={classes.skip}
        onClick={(e) => {
          e.preventDefault(); // "#main" would resolve against <base href>
          main.current?.focus();
        }}
      >
        {strings.skip}
      </a>
      <div className={classes.shell}>
        <nav aria-label={t.label} className={classes.bar}>
          <Burger opened={open} onClick={() => setOpen(!open)} size="sm" aria-label={open ? t.close : t.open} aria-expanded={open} />
          <Link to="/query" className={classes.brand}>
            <Logo size={24} />
            <span>{strings.brand}</span>
          </Link>
          <UserMenu me={me.data} compact />
        </nav>
        <Drawer opened={open} onClose={() => setOpen(false)} size={272} padding="md" closeButtonProps={{ "aria-label": t.close }} title={strings.brand}>
          <nav aria-label={t.label}>{rail("drawer-admin")}</nav>
        </Drawer>
        <nav aria-label={t.label} className={classes.rail}>
          <Link to="/query" className={classes.brand}>
            <Logo />
            <span>{strings.brand}</span>
          </Link>
          {rail("rail-admin")}
          <UserMenu me={me.data} />
        </nav>
        <main ref={main} tabIndex={-1} className={classes.main} id="main">
          <Outlet />
        </main>
      </div>
      <SessionGuard session={me.data.session} />
    </MeContext>
  );
}

function RailItem({ to, icon: Icon, label }: { to: string; icon: ComponentType<{ size?: number; stroke?: number; "aria-hidden"?: boolean }>; label: string }) {
  return (
    <li>
      <Link to={to} className={classes.item} activeProps={{ "aria-current": "page" }} activeOptions={{ includeSearch: false }}>
        <Icon size={18} stroke={1.75} aria-hidden />
        {label}
      </Link>
    </li>
  );
}
