import { Checkbox, Select, TagsInput, TextInput } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { ComponentProps } from "react";
import { Notice } from "../ui/Notice";
import type { OAuthApp } from "../api/client";
import { Fold } from "./Fold";
import classes from "./Form.module.css";
import { advancedInUse, type Field, labels, type Values } from "./form";
import { PairRows } from "./PairRows";
import { oauthApp as t } from "./strings";

interface Props {
  app?: OAuthApp;
  values: Values;
  open: boolean;
  onToggle: () => void;
  shown: (field: Field) => string | undefined;
  parURL: ComponentProps<typeof TextInput>;
  readOnly: boolean;
  set: <F extends Field>(field: F, value: Values[F]) => void;
}

/** What few providers need. Folded away it still says what of it is in use, so that nothing counts unseen. */
export function Advanced({ app, values, open, onToggle, shown, parURL, readOnly, set }: Props) {
  const used = advancedInUse(values).map((f) => labels[f]);
  return (
    <section className={`card ${classes.section}`}>
      <Fold
        id="advanced"
        label={t.advanced}
        open={open}
        onToggle={onToggle}
        summary={<p className={classes.folded}>{used.length === 0 ? t.advancedNone : t.advancedInUse(used)}</p>}
      >
        <div className={classes.fields}>
          <PairRows
            field="auth_params"
            label={t.params}
            help={t.paramsHelp}
            add={t.addParam}
            columns={paramColumns}
            rows={values.auth_params}
            error={shown("auth_params")}
            readOnly={readOnly}
            onChange={(v) => set("auth_params", v)}
          />
          <TagsInput
            id="field-resource"
            label={t.resources}
            description={t.resourcesHelp}
            value={values.resource}
            error={shown("resource")}
            readOnly={readOnly}
            splitChars={[",", " "]}
            onChange={(v) => set("resource", v)}
          />
          <TextInput {...parURL} description={t.parURLHelp} spellCheck={false} inputMode="url" />
          <Checkbox
            id="field-par_required"
            label={t.parRequired}
            checked={values.par_required}
            disabled={readOnly}
            error={shown("par_required")}
            onChange={(e) => set("par_required", e.currentTarget.checked)}
          />
          <Select
            id="field-dpop"
            label={t.dpop}
            description={app && (app.dpop_offered ? t.dpopOffered : t.dpopNotOffered)}
            value={values.dpop}
            error={shown("dpop")}
            readOnly={readOnly}
            allowDeselect={false}
            data={options(t.dpops)}
            onChange={(v) => v && set("dpop", v as Values["dpop"])}
          />
          {values.dpop !== "false" && (
            <Notice tone="warn" icon={IconAlertTriangle} title={t.dpopWarning}>
              <p>{t.dpopWhy}</p>
            </Notice>
          )}
          {values.token_endpoint_auth_method === "private_key_jwt" && (
            <Select
              id="field-assertion_audience"
              label={t.assertionAudience}
              value={values.assertion_audience}
              error={shown("assertion_audience")}
              readOnly={readOnly}
              allowDeselect={false}
              data={options(t.assertionAudiences)}
              onChange={(v) => v !== null && set("assertion_audience", v as Values["assertion_audience"])}
            />
          )}
          <TagsInput
            id="field-audiences"
            label={t.audiences}
            description={t.audiencesHelp}
            value={values.audiences}
            error={shown("audiences")}
            readOnly={readOnly}
            splitChars={[",", " "]}
            onChange={(v) => set("audiences", v)}
          />
          <PairRows
            field="subject_issuers"
            label={t.subjectIssuers}
            help={t.subjectIssuersHelp}
            add={t.addIssuer}
            columns={issuerColumns}
            rows={values.subject_issuers}
            error={shown("subject_issuers")}
            readOnly={readOnly}
            onChange={(v) => set("subject_issuers", v)}
          />
          <Select
            id="field-hand_out"
            label={t.handOut}
            description={t.handOutHelp}
            value={values.hand_out}
            error={shown("hand_out")}
            readOnly={readOnly}
            allowDeselect={false}
            data={options(t.handOuts)}
            onChange={(v) => v && set("hand_out", v as Values["hand_out"])}
          />
        </div>
      </Fold>
    </section>
  );
}

const paramColumns = [
  { key: "name", label: t.paramName },
  { key: "value", label: t.paramValue },
] as const;

const issuerColumns = [
  { key: "issuer", label: t.issuer },
  { key: "audience", label: t.audience },
] as const;

function options(words: Record<string, string>) {
  return Object.entries(words).map(([value, label]) => ({ value, label }));
}
