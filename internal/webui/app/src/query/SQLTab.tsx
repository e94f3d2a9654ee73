import { useQuery } from "@tanstack/react-query";
import { sql } from "../api/cube";
import { strings } from "../strings";
import { CopyButton } from "../ui/CopyButton";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Loading } from "../ui/Loading";
import { isRunnable, type Query, toSend } from "./draft";
import classes from "./Results.module.css";
import { highlight } from "./highlight";

const t = strings.query;

/** The SQL that the query becomes, with its parameters apart: values are bound, never pasted in. */
export function SQLTab({ query }: { query: Query }) {
  const sent = toSend(query);
  const answer = useQuery({ queryKey: ["sql", sent], queryFn: ({ signal }) => sql(sent, signal), enabled: isRunnable(sent), staleTime: 60_000 });
  if (!isRunnable(sent)) return <p className={classes.note}>{t.sqlEmpty}</p>;
  if (answer.isPending) return <div className={classes.pane}><Loading lines={5} /></div>;
  if (answer.isError) {
    return (
      <div className={classes.pane}>
        <ErrorBlock error={answer.error} onRetry={() => void answer.refetch()} />
      </div>
    );
  }
  return (
    <div className={classes.pane}>
      <div className={classes.code}>
        <pre tabIndex={0} aria-label={t.sqlTab}>
          <code>
            {highlight(answer.data.sql).map((part, i) =>
              part.kind === "" ? part.text : (
                <span key={i} data-kind={part.kind}>
                  {part.text}
                </span>
              ),
            )}
          </code>
        </pre>
        <CopyButton text={answer.data.sql} what="SQL" />
      </div>
      {answer.data.params.length > 0 && (
        <>
          <h2 className={classes.sub}>{t.params}</h2>
          <ol className={classes.params}>
            {answer.data.params.map((p, i) => (
              <li key={i}>
                <code>{JSON.stringify(p)}</code>
              </li>
            ))}
          </ol>
        </>
      )}
    </div>
  );
}
