import { Button, Checkbox, Group, Modal, Select, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { api, type MadeToken, origin } from "../api/client";
import { connectedAppsQuery } from "../connectedapps/queries";
import { strings } from "../strings";
import { CopyButton } from "../ui/CopyButton";
import { ErrorBlock } from "../ui/ErrorBlock";
import { tokensQuery } from "./queries";
import { tokens as t } from "./strings";
import classes from "./Tokens.module.css";

const lives = [7, 30, 90, 365];

/** First what it may do and for how long, then the token, once. */
export function CreateDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const [made, setMade] = useState<MadeToken>();
  const [warned, setWarned] = useState(false);
  const [copied, setCopied] = useState(false);
  const finish = () => {
    setMade(undefined);
    setWarned(false);
    setCopied(false);
    onClose();
  };
  const close = () => (made && !copied && !warned ? setWarned(true) : finish()); // it asks once
  const title = warned ? t.closeTitle : made ? t.madeTitle : t.newTitle;
  return (
    <Modal opened={opened} onClose={close} title={title} size="lg" closeOnClickOutside={!made} closeButtonProps={{ "aria-label": strings.common.close }}>
      {warned ? (
        <>
          <Text>{t.closeWarn}</Text>
          <Group justify="flex-end" mt="lg" gap="xs">
            <Button variant="default" color="red" onClick={close}>
              {t.closeDo}
            </Button>
            <Button data-autofocus onClick={() => setWarned(false)}>
              {t.closeBack}
            </Button>
          </Group>
        </>
      ) : made ? (
        <Made token={made} onCopied={() => setCopied(true)} onDone={finish} />
      ) : (
        <Form onMade={setMade} onCancel={close} />
      )}
    </Modal>
  );
}

function Form({ onMade, onCancel }: { onMade: (t: MadeToken) => void; onCancel: () => void }) {
  const apps = useQuery(connectedAppsQuery);
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<string[]>([]);
  const [days, setDays] = useState(30);
  const [tried, setTried] = useState(false);
  const create = useMutation({
    mutationFn: () => api.createToken({ name: name.trim(), scopes, expires_in_seconds: days * 86_400 }),
    onSuccess: (token) => {
      void queries.invalidateQueries({ queryKey: tokensQuery.queryKey });
      onMade(token);
    },
  });
  return (
    <form
      noValidate
      onSubmit={(e) => {
        e.preventDefault();
        setTried(true);
        if (name.trim() !== "" && scopes.length > 0) create.mutate();
      }}
    >
      <Stack gap="md">
        <TextInput
          label={t.name}
          description={t.nameHelp}
          placeholder={t.nameExample}
          value={name}
          maxLength={100}
          autoComplete="off"
          data-autofocus
          error={tried && name.trim() === "" && t.nameMissing}
          onChange={(e) => setName(e.currentTarget.value)}
        />
        <Checkbox.Group label={t.scopes} value={scopes} onChange={setScopes} error={tried && scopes.length === 0 && t.scopesMissing}>
          <Stack gap="xs" mt="xs" mb="xs">
            {(apps.data ?? []).map((a) => (
              <Checkbox key={a.app} value={`token:${a.app}`} label={t.handOut(a.name)} description={<code>token:{a.app}</code>} />
            ))}
            {(apps.data ?? [])
              .filter((a) => a.actions.some((action) => action.rel === "exchange"))
              .map((a) => (
                <Checkbox key={`connect ${a.app}`} value={`connect:${a.app}`} label={t.connect(a.name)} description={<code>connect:{a.app}</code>} />
              ))}
            <Checkbox value="account" label={t.account} description={<code>account</code>} />
          </Stack>
        </Checkbox.Group>
        {apps.isError && <ErrorBlock error={apps.error} onRetry={() => void apps.refetch()} />}
        <Select
          label={t.expiry}
          value={String(days)}
          allowDeselect={false}
          data={lives.map((n) => ({ value: String(n), label: t.days(n) }))}
          onChange={(v) => v && setDays(Number(v))}
        />
        {create.isError && <ErrorBlock error={create.error} />}
      </Stack>
      <Group justify="flex-end" mt="lg" gap="xs">
        <Button variant="default" onClick={onCancel}>
          {strings.common.cancel}
        </Button>
        <Button type="submit" loading={create.isPending}>
          {t.create}
        </Button>
      </Group>
    </form>
  );
}

function Made({ token, onCopied, onDone }: { token: MadeToken; onCopied: () => void; onDone: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), []);
  const slug = token.scopes.find((s) => s.startsWith("token:"))?.slice("token:".length);
  const path = slug === undefined ? "/api/v1/connected-apps" : `/api/v1/connected-apps/${slug}/token`;
  const curl = `curl -s -H "Authorization: Bearer $BEHALF_TOKEN" ${origin()}${path}`;
  return (
    <>
      <Text mb="md">{t.madeOnce}</Text>
      <div className={classes.secret} onCopy={onCopied}>
        <TextInput ref={field} aria-label={t.token} value={token.token} readOnly data-autofocus onFocus={(e) => e.currentTarget.select()} classNames={{ root: classes.grow, input: classes.mono }} />
        <div onClick={onCopied}>
          <CopyButton text={token.token} what={t.token} labelled />
        </div>
      </div>
      <Text mt="lg" mb={4} size="sm" fw={560}>
        {t.curl}
      </Text>
      <div className={classes.snippet}>
        <code>{curl}</code>
        <CopyButton text={curl} what={t.curlOf} />
      </div>
      <Group justify="flex-end" mt="lg">
        <Button onClick={onDone}>{t.copied}</Button>
      </Group>
    </>
  );
}
