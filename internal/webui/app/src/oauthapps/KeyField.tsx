import { Button, Input, Select, Textarea, TextInput } from "@mantine/core";
import { IconLock } from "@tabler/icons-react";
import { useState } from "react";
import type { OAuthApp } from "../api/client";
import { CopyButton } from "../ui/CopyButton";
import { RelativeTime } from "../ui/RelativeTime";
import classes from "./Form.module.css";
import { type KeyAlgorithm, keyAlgorithms } from "./form";
import { oauthApp } from "./strings";

const t = oauthApp.key;

// In place of an algorithm: the key is not made here.
const paste = "paste";

interface Props {
  state?: OAuthApp["private_key"];
  /** Where the provider can read the public key; empty while no slug is known. */
  jwksURI: string;
  value: string;
  algorithm: KeyAlgorithm | "";
  error?: string;
  readOnly: boolean;
  onChange: (value: string) => void;
  onAlgorithm: (algorithm: KeyAlgorithm | "") => void;
  onBlur: () => void;
}

/** The private key of private_key_jwt, which is made here or pasted and never shown, and its public half for the provider. */
export function KeyField({ state, jwksURI, value, algorithm, error, readOnly, onChange, onAlgorithm, onBlur }: Props) {
  const stored = state?.set === true;
  const [replacing, setReplacing] = useState(!stored);
  const choose = (made: KeyAlgorithm | "") => {
    onAlgorithm(made);
    if (made !== "") onChange("");
  };
  return (
    <div className={classes.fields}>
      {!replacing || readOnly ? (
        <Input.Wrapper label={t.label} error={error} labelElement="div">
          <div className={classes.secret}>
            <IconLock size={16} aria-hidden />
            <span>
              {stored ? oauthApp.secretSet : oauthApp.secretNone} {state?.set_at && <RelativeTime at={state.set_at} asDay />}
              {stored && algorithmOf(state) !== "" && `, ${algorithmOf(state)}`}
            </span>
            {!readOnly && (
              <Button
                id="field-private_key"
                variant="default"
                size="xs"
                onClick={() => {
                  choose(keyAlgorithms[0]);
                  setReplacing(true);
                }}
              >
                {oauthApp.replace}
              </Button>
            )}
          </div>
        </Input.Wrapper>
      ) : (
        <div className={classes.fields}>
          <div className={classes.copyField}>
            <Select
              id={algorithm === "" ? "field-generate_private_key" : "field-private_key"}
              label={t.label}
              description={t.makeHelp}
              value={algorithm === "" ? paste : algorithm}
              error={algorithm !== "" && error}
              allowDeselect={false}
              data={[...keyAlgorithms.map((a) => ({ value: a as string, label: t.make(t.algorithms[a]) })), { value: paste, label: t.paste }]}
              onChange={(from) => from !== null && choose(from === paste ? "" : (from as KeyAlgorithm))}
            />
            {stored && (
              <Button
                variant="default"
                onClick={() => {
                  choose("");
                  onChange("");
                  setReplacing(false);
                }}
              >
                {oauthApp.keep}
              </Button>
            )}
          </div>
          {algorithm === "" && (
            <Textarea
              id="field-private_key"
              label={t.pasted}
              description={t.pasteHelp}
              placeholder={t.pasteExample}
              value={value}
              error={error}
              rows={5}
              autoComplete="off"
              spellCheck={false}
              withAsterisk
              classNames={{ input: classes.mono }}
              onChange={(e) => onChange(e.currentTarget.value)}
              onBlur={onBlur}
            />
          )}
          {stored && <p className={classes.hint}>{t.replaces}</p>}
        </div>
      )}
      {jwksURI !== "" && (
        <div className={classes.copyField}>
          <TextInput
            label={t.jwks}
            description={stored ? t.jwksHelp : t.jwksLater}
            value={jwksURI}
            readOnly
            onFocus={(e) => e.currentTarget.select()}
            classNames={{ input: classes.mono }}
          />
          <CopyButton text={jwksURI} what={t.jwks} labelled />
        </div>
      )}
      {stored && state.public_jwk !== undefined && (
        <div className={classes.secret}>
          <span className={classes.hint}>{t.publicHelp}</span>
          <CopyButton text={JSON.stringify(state.public_jwk)} what={t.publicJWK} labelled="full" />
        </div>
      )}
    </div>
  );
}

function algorithmOf({ public_jwk: key }: OAuthApp["private_key"]): string {
  return typeof key === "object" && key !== null && "alg" in key ? String(key.alg) : "";
}
