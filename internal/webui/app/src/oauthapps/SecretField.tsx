import { Button, Input, PasswordInput } from "@mantine/core";
import { IconCircleCheck, IconLock } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import type { OAuthApp } from "../api/client";
import { strings } from "../strings";
import { Badge } from "../ui/Badge";
import { RelativeTime } from "../ui/RelativeTime";
import classes from "./Form.module.css";
import { oauthApp as t } from "./strings";

interface Props {
  name: "client_secret" | "client_secret_next";
  label: string;
  help: string;
  state?: OAuthApp["client_secret"];
  /** Of two secrets, this is the one that the provider accepted last. */
  inUse?: boolean;
  value: string;
  error?: string;
  readOnly: boolean;
  /** Where there is no stored secret to go back to: leave the new one out after all. */
  onLeaveOut?: () => void;
  onChange: (value: string) => void;
  onBlur: () => void;
}

/** A secret goes in and never comes out: what is stored shows as its date and its end, with a way to replace it. */
export function SecretField({ name, label, help, state, inUse = false, value, error, readOnly, onLeaveOut, onChange, onBlur }: Props) {
  const [replacing, setReplacing] = useState(state?.set !== true);
  const used: ReactNode = inUse && (
    <Badge tone="ok" icon={IconCircleCheck}>
      {t.secretInUse}
    </Badge>
  );
  if (!replacing || readOnly) {
    return (
      <Input.Wrapper label={label} error={error} id={`field-${name}-state`} labelElement="div">
        <div className={classes.secret}>
          <IconLock size={16} aria-hidden />
          {state?.set ? (
            <span>
              {t.secretSet} {state.set_at && <RelativeTime at={state.set_at} asDay />}
              {state.ends_in && `, ${t.secretEnds(state.ends_in)}`}
            </span>
          ) : (
            <span>{t.secretNone}</span>
          )}
          {used}
          {!readOnly && (
            <Button id={`field-${name}`} variant="default" size="xs" onClick={() => setReplacing(true)} aria-label={name === "client_secret" ? undefined : `${t.replace}: ${label}`}>
              {t.replace}
            </Button>
          )}
        </div>
      </Input.Wrapper>
    );
  }
  return (
    <div className={classes.copyField}>
      <PasswordInput
        id={`field-${name}`}
        label={label}
        description={help}
        value={value}
        error={error}
        autoComplete="new-password"
        spellCheck={false}
        autoFocus={state?.set === true || onLeaveOut !== undefined}
        withAsterisk={state?.set !== true && onLeaveOut === undefined}
        onChange={(e) => onChange(e.currentTarget.value.trim())}
        onBlur={onBlur}
      />
      {(state?.set || onLeaveOut) && (
        <Button
          variant="default"
          onClick={() => {
            onChange("");
            if (onLeaveOut) onLeaveOut();
            else setReplacing(false);
          }}
        >
          {onLeaveOut ? strings.common.cancel : t.keep}
        </Button>
      )}
    </div>
  );
}
