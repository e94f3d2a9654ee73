import { Button, Group, Textarea } from "@mantine/core";
import { useState } from "react";
import { strings } from "../strings";
import { CopyButton } from "../ui/CopyButton";
import { asJSON } from "./copyas";
import { type Query, toQuery, toSend } from "./draft";
import classes from "./Results.module.css";
import type { Run } from "./useRun";

const t = strings.query;

/** The query as text, to read, edit or paste; and the answer as it came. */
export function JSONTab({ query, run, onApply }: { query: Query; run: Run; onApply: (q: Query) => void }) {
  const current = asJSON(toSend(query));
  const [edited, setEdited] = useState<string>();
  const [error, setError] = useState("");
  const apply = () => {
    try {
      const raw: unknown = JSON.parse(edited ?? current);
      const parsed = toQuery(typeof raw === "object" && raw !== null && "query" in raw ? raw.query : raw);
      if (parsed === undefined) throw new Error("it is no object");
      setError("");
      setEdited(undefined);
      onApply(parsed);
    } catch (e) {
      setError(t.jsonBad(e instanceof Error ? e.message : String(e)));
    }
  };
  const answer = run.step === "done" ? JSON.stringify(run.result.body, null, 2) : "";
  const shown = answer.length > 200_000 ? `${answer.slice(0, 200_000)}\n…` : answer;
  return (
    <div className={`${classes.pane} ${classes.json}`}>
      <div>
        <Textarea
          label={t.jsonQuery}
          description={t.jsonHelp}
          value={edited ?? current}
          error={error}
          autosize
          minRows={8}
          maxRows={24}
          spellCheck={false}
          classNames={{ input: classes.mono }}
          onChange={(e) => setEdited(e.currentTarget.value)}
        />
        <Group gap="xs" mt="xs">
          <Button size="xs" onClick={apply} disabled={edited === undefined}>
            {t.jsonApply}
          </Button>
          <CopyButton text={edited ?? current} what="query" />
        </Group>
      </div>
      {answer !== "" && (
        <div>
          <h2 className={classes.sub}>{t.jsonAnswer}</h2>
          <div className={classes.code}>
            <pre tabIndex={0} aria-label={t.jsonAnswer}>
              <code>{shown}</code>
            </pre>
            <CopyButton text={answer} what="answer" />
          </div>
        </div>
      )}
    </div>
  );
}
