import { Anchor, Button } from "@mantine/core";
import { IconExternalLink } from "@tabler/icons-react";
import { useState } from "react";
import type { Preset } from "../api/client";
import { CopyButton } from "../ui/CopyButton";
import classes from "./Form.module.css";
import { hostOf } from "./form";
import { oauthApp as t } from "./strings";

/** What to do at the provider, with our redirect URI filled in. */
export function Guide({ preset, redirectURI, host }: { preset: Preset; redirectURI: string; host: string }) {
  const text = preset.provider_steps
    .replaceAll("{redirect_uri}", redirectURI === "" ? "…" : redirectURI)
    .replaceAll("{host}", hostOf(host) || preset.host_example);
  return (
    <aside className={classes.guide} aria-label={t.guide(preset.title)}>
      <h3>{t.guide(preset.title)}</h3>
      {blocksOf(text).map((block, i) =>
        block.code ? (
          <div key={i} className={classes.snippet}>
            <pre tabIndex={0}>
              <code>{block.text}</code>
            </pre>
            <CopyButton text={block.text} what="snippet" />
          </div>
        ) : (
          <p key={i}>{inline(block.text)}</p>
        ),
      )}
      <Quirks quirks={preset.quirks} />
      {/^https:/.test(preset.docs_url) && (
        <Anchor href={preset.docs_url} target="_blank" rel="noreferrer" size="sm">
          {t.guideDocs(preset.title)} <IconExternalLink size={13} aria-hidden />
        </Anchor>
      )}
    </aside>
  );
}

// So many are read; more of them are a reference, which waits until somebody asks.
const few = 3;

/** In what the provider differs from others, each with the public page that says so. */
function Quirks({ quirks }: { quirks: Preset["quirks"] }) {
  const [all, setAll] = useState(false);
  if (quirks.length === 0) return null;
  return (
    <>
      <h3>{t.quirks}</h3>
      <ul className={classes.quirks}>
        {(all ? quirks : quirks.slice(0, few)).map((quirk, i) => (
          <li key={quirk.text}>
            {quirk.text}{" "}
            {/^https:/.test(quirk.source) && (
              <Anchor href={quirk.source} target="_blank" rel="noreferrer" size="xs" aria-label={t.quirkSourceOf(i + 1)}>
                {t.quirkSource}
              </Anchor>
            )}
          </li>
        ))}
      </ul>
      {!all && quirks.length > few && (
        <Button variant="subtle" color="gray" size="compact-sm" px={4} onClick={() => setAll(true)}>
          {t.quirksMore(quirks.length - few)}
        </Button>
      )}
    </>
  );
}

/** Paragraphs and fenced code, which is all that the steps of a preset use. */
export function blocksOf(text: string): { code: boolean; text: string }[] {
  return text
    .split(/^```\w*\n([\s\S]*?)^```$/m)
    .flatMap((part, i) =>
      i % 2 === 1
        ? [{ code: true, text: part.trimEnd() }]
        : part
            .split(/\n{2,}/)
            .map((p) => ({ code: false, text: p.replace(/\s*\n\s*/g, " ").trim() }))
            .filter((p) => p.text !== ""),
    );
}

function inline(text: string) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part, i) => {
    if (i % 2 === 0) return part;
    return part.startsWith("`") ? <code key={i}>{part.slice(1, -1)}</code> : <strong key={i}>{part.slice(2, -2)}</strong>;
  });
}
