import { Button } from "@mantine/core";
import { IconShieldCheck, IconShieldHalf, IconShieldX } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { api, type Orchestrator } from "../api/client";
import { ErrorBlock } from "../ui/ErrorBlock";
import { Notice } from "../ui/Notice";
import classes from "./Live.module.css";
import { orchestrators } from "./strings";
import { clock } from "./View";
import { shared, whose } from "./words";

const t = orchestrators.isolation;

/** Every orchestrator there is, page by page. */
async function everyone(): Promise<{ all: Orchestrator[]; at: number }> {
  const all: Orchestrator[] = [];
  let cursor = "";
  do {
    const page = await api.orchestrators(cursor);
    all.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== "");
  return { all, at: Date.now() };
}

/** Whether people share an orchestrator, shown from the orchestrators themselves: each names who uses it. */
export function Isolation({ there, more, total }: { there: Orchestrator[]; more: boolean; total: number }) {
  const sources = useQuery({ queryKey: ["data-sources"], queryFn: ({ signal }) => api.dataSources(signal), staleTime: 60_000 });
  const check = useMutation({ mutationFn: everyone });
  const compared = more && check.data ? check.data.all : there;
  const merged = compared.filter(shared);
  const people = new Set(compared.flatMap((o) => o.people.map((p) => p.principal))).size;
  const personal = sources.data?.some((s) => s.oauth_app !== "") ?? true; // until it is known, the worse is assumed
  const rest = more && (
    <>
      {" "}
      {check.data ? t.checkedAt(clock(check.data.at)) : t.partly(there.length, total)}{" "}
      <Button size="compact-xs" variant="default" loading={check.isPending} onClick={() => check.mutate()}>
        {t.checkAll}
      </Button>
    </>
  );
  const failed = check.isError && <ErrorBlock error={check.error} onRetry={() => check.mutate()} />;
  if (merged.length === 0) {
    return (
      <section className={`card ${classes.isolation}`} aria-label={t.title}>
        <IconShieldCheck size={20} aria-hidden />
        <div>
          <p>
            <strong>{t.apart}.</strong> <span className={classes.detail}>{compared.length === 0 ? t.none : t.proof(compared.length, people)}{rest}</span>
          </p>
          {failed}
        </div>
      </section>
    );
  }
  return (
    <section className={classes.notice} aria-label={t.title}>
      <Notice tone={personal ? "bad" : "info"} icon={personal ? IconShieldX : IconShieldHalf} title={personal ? t.merged(merged.length) : t.harmless}>
        <p>
          {personal ? t.mergedWhy : t.harmlessWhy}
          {rest}
        </p>
        <ul className={classes.merged}>
          {merged.map((o) => (
            <li key={o.id}>{t.who(o.name, whose(o))}</li>
          ))}
        </ul>
        {failed}
      </Notice>
    </section>
  );
}
