import { type MantineColorScheme, Menu, UnstyledButton, useMantineColorScheme, VisuallyHidden } from "@mantine/core";
import { IconDeviceDesktop, IconKey, IconLogout, IconMoon, IconPlugConnected, IconSelector, IconSun } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, basePath, type Me } from "../api/client";
import { browser } from "../api/signin";
import { connectedAppsQuery } from "../connectedapps/queries";
import { strings } from "../strings";
import { ErrorBlock } from "../ui/ErrorBlock";
import { needsAttention } from "../ui/StatusBadge";
import classes from "./UserMenu.module.css";

const t = strings.nav;

const themes = [
  { value: "auto", label: t.system, icon: IconDeviceDesktop },
  { value: "light", label: t.light, icon: IconSun },
  { value: "dark", label: t.dark, icon: IconMoon },
] as const;

export function UserMenu({ me, compact = false }: { me: Me; compact?: boolean }) {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const [failed, setFailed] = useState<unknown>();
  const apps = useQuery(connectedAppsQuery);
  const attention = (apps.data ?? []).filter((a) => needsAttention(a.status)).length;

  const signOut = async () => {
    try {
      await api.logout();
      browser.go(`${basePath()}/login`);
    } catch (e) {
      setFailed(e); // saying "signed out" when the session lives on would be a lie
    }
  };

  return (
    <>
      <Menu position={compact ? "bottom-end" : "top-start"} width={244} withinPortal={false}>
        <Menu.Target>
          <UnstyledButton className={classes.target} data-compact={compact} aria-label={compact ? t.account(me.username) : undefined}>
            <span className={classes.initial} aria-hidden>
              {me.username.slice(0, 1).toUpperCase()}
              {attention > 0 && <span className={classes.dot} />}
            </span>
            {!compact && (
              <>
                <VisuallyHidden>{t.accountWord}</VisuallyHidden>
                <span className={classes.who}>
                  <span className={classes.name}>{me.username}</span>
                  <span className={classes.mail}>{me.email}</span>
                </span>
                <IconSelector size={16} aria-hidden />
              </>
            )}
          </UnstyledButton>
        </Menu.Target>
        <Menu.Dropdown>
          {compact && <div className={classes.label}>{me.username}</div>}
          <Menu.Item
            renderRoot={(props) => <Link to="/connected-apps" {...props} />}
            leftSection={<IconPlugConnected size={16} aria-hidden />}
            rightSection={
              attention > 0 && (
                <>
                  <span className={classes.count} aria-hidden>
                    {attention}
                  </span>
                  <VisuallyHidden>, {t.attention(attention)}</VisuallyHidden>
                </>
              )
            }
          >
            {t.connectedApps}
          </Menu.Item>
          <Menu.Item renderRoot={(props) => <Link to="/tokens" {...props} />} leftSection={<IconKey size={16} aria-hidden />}>
            {t.tokens}
          </Menu.Item>
          <Menu.Divider />
          <Menu.RadioGroup value={colorScheme} onChange={(v) => setColorScheme(v as MantineColorScheme)} aria-label={t.theme}>
            <div className={classes.label} aria-hidden>
              {t.theme}
            </div>
            {themes.map(({ value, label, icon: Icon }) => (
              <Menu.RadioItem key={value} value={value} closeMenuOnClick={false} rightSection={<Icon size={16} aria-hidden />}>
                {label}
              </Menu.RadioItem>
            ))}
          </Menu.RadioGroup>
          <Menu.Divider />
          <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={() => void signOut()}>
            {t.signOut}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {failed !== undefined && <ErrorBlock error={failed} onRetry={() => void signOut()} />}
    </>
  );
}
