import { Button, Input } from "@mantine/core";
import { IconKey } from "@tabler/icons-react";
import { useState } from "react";
import type { OAuthApp } from "../api/client";
import classes from "./Form.module.css";
import { SecretField } from "./SecretField";
import { oauthApp as t } from "./strings";

interface Props {
  app: OAuthApp;
  value: string;
  error?: string;
  ending: boolean;
  readOnly: boolean;
  onChange: (value: string) => void;
  onEnd: (ending: boolean) => void;
  onBlur: () => void;
}

/** The second client secret while the first is rolled over: a way to begin, which of the two is in use, a way to end. */
export function Rollover({ app, value, error, ending, readOnly, onChange, onEnd, onBlur }: Props) {
  const [adding, setAdding] = useState(value !== "");
  const under = app.client_secret_next.set;
  if (!under && readOnly) return null;
  if (!under && !adding) {
    return (
      <div>
        <Button id="field-client_secret_next" variant="subtle" color="gray" size="compact-md" px={4} leftSection={<IconKey size={16} aria-hidden />} onClick={() => setAdding(true)}>
          {t.rolloverAdd}
        </Button>
      </div>
    );
  }
  if (ending) {
    return (
      <Input.Wrapper label={t.rollover} labelElement="div">
        <div className={classes.secret}>
          <span>{t.rolloverEnds}</span>
          <Button id="field-client_secret_next" variant="default" size="xs" autoFocus onClick={() => onEnd(false)}>
            {t.rolloverKeep}
          </Button>
        </div>
      </Input.Wrapper>
    );
  }
  return (
    <div className={classes.fields}>
      <SecretField
        name="client_secret_next"
        label={t.nextSecret}
        help={t.nextSecretHelp}
        state={app.client_secret_next}
        inUse={under && app.client_secret_in_use === "client_secret_next"}
        value={value}
        error={error}
        readOnly={readOnly}
        onLeaveOut={under ? undefined : () => setAdding(false)}
        onChange={onChange}
        onBlur={onBlur}
      />
      {under && (
        <div className={classes.secret}>
          <p className={classes.hint}>{t.rolloverWhy}</p>
          {!readOnly && (
            <Button variant="default" size="xs" onClick={() => onEnd(true)}>
              {t.rolloverEnd}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}
