import { Button, Menu, Select, TextInput, Tooltip } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconCheck, IconCopy, IconFilterPlus, IconPlayerPlayFilled, IconPlayerStopFilled, IconPlus, IconSortAscending } from "@tabler/icons-react";
import { lazy, type ReactNode, Suspense, useState } from "react";
import { strings } from "../strings";
import { useCopy } from "../ui/CopyButton";
import classes from "./Builder.module.css";
import { asCurl, asJavaScript, asJSON } from "./copyas";
import { defaultLimit, isRunnable, type Member, operatorsFor, type Query, selected, tidy, toggle, toSend } from "./draft";
import { Pill } from "./Pill";
import { TimeRow } from "./TimeRow";

const t = strings.query;

// What a filter needs of widgets is a tenth of the first load, and a query begins without one.
const FilterRow = lazy(async () => ({ default: (await import("./FilterRow")).FilterRow }));

interface Props {
  query: Query;
  members: Map<string, Member>;
  running: boolean;
  onChange: (q: Query) => void;
  onRun: () => void;
  onStop: () => void;
  /** Opens the member picker, where there is no room to show it. */
  onPick?: () => void;
}

/** The query as a form: what is counted, by what, of what, in which order. */
export function Builder({ query, members, running, onChange, onRun, onStop, onPick }: Props) {
  const of = (name: string): Member => members.get(name) ?? { name, title: name, shortTitle: name, kind: "dimension", cube: "" };
  const remove = (m: Member) => onChange(toggle(query, m));
  const dropFilter = (i: number) => onChange(tidy({ ...query, filters: query.filters?.filter((_, at) => at !== i) }));
  const empty = selected(query).length === 0 && !query.filters?.length && !query.segments?.length && !query.timeDimensions?.length;
  const sortable = selected(query).filter((n) => !query.order?.some(([id]) => id === n));
  const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  return (
    <section className={`card ${classes.builder}`} aria-label={t.builder} data-pane tabIndex={-1}>
      {empty && <p className={classes.hint}>{onPick ? t.nothingNarrow : t.nothing}</p>}
      <Row label={t.groups.measures} of={query.measures}>
        {query.measures?.map((n) => (
          <Pill key={n} member={of(n)} known={members.has(n)} onRemove={() => remove({ ...of(n), kind: "measure" })} />
        ))}
      </Row>
      <Row label={t.groups.dimensions} of={query.dimensions}>
        {query.dimensions?.map((n) => (
          <Pill key={n} member={of(n)} known={members.has(n)} onRemove={() => remove({ ...of(n), kind: "dimension" })} />
        ))}
      </Row>
      <Row label={t.groups.time} of={query.timeDimensions}>
        {query.timeDimensions?.map((td, i) => (
          <TimeRow
            key={i}
            value={td}
            member={{ ...of(td.dimension), kind: "time" }}
            known={members.has(td.dimension)}
            onChange={(v) => onChange(tidy({ ...query, timeDimensions: query.timeDimensions?.map((x, at) => (at === i ? v : x)) }))}
            onRemove={() => onChange(tidy({ ...query, timeDimensions: query.timeDimensions?.filter((_, at) => at !== i) }))}
          />
        ))}
      </Row>
      <Row label={t.groups.segments} of={query.segments}>
        {query.segments?.map((n) => (
          <Pill key={n} member={{ ...of(n), kind: "segment" }} known={members.has(n)} onRemove={() => remove({ ...of(n), kind: "segment" })} />
        ))}
      </Row>
      <Row label={t.groups.filters} of={query.filters}>
        {query.filters?.map((f, i) => (
          <Suspense key={i} fallback={<Pill member={of(f.member)} known={members.has(f.member)} onRemove={() => dropFilter(i)} />}>
            <FilterRow
              filter={f}
              members={members}
              onChange={(v) => onChange(tidy({ ...query, filters: query.filters?.map((x, at) => (at === i ? v : x)) }))}
              onRemove={() => dropFilter(i)}
            />
          </Suspense>
        ))}
      </Row>
      <Row label={t.groups.order} of={query.order}>
        {query.order?.map(([id, dir], i) => {
          const m = of(id);
          const Arrow = dir === "asc" ? IconArrowUp : IconArrowDown;
          return (
            <Pill
              key={id}
              member={m}
              known={members.has(id)}
              onRemove={() => onChange(tidy({ ...query, order: query.order?.filter((_, at) => at !== i) }))}
            >
              <button
                type="button"
                className={classes.turn}
                aria-label={t.turn(m.title, dir === "asc" ? t.ascending : t.descending)}
                onClick={() => onChange({ ...query, order: query.order?.map((o, at) => (at === i ? [id, dir === "asc" ? "desc" : "asc"] : o)) })}
              >
                <Arrow size={15} aria-hidden />
              </button>
            </Pill>
          );
        })}
      </Row>

      <div className={classes.tools}>
        {onPick && (
          <Button variant="default" leftSection={<IconPlus size={16} aria-hidden />} onClick={onPick}>
            {t.addMembers}
          </Button>
        )}
        <MemberMenu
          label={t.addFilter}
          icon={<IconFilterPlus size={16} aria-hidden />}
          members={[...members.values()].filter((m) => m.kind !== "segment")}
          onPick={(m) => onChange({ ...query, filters: [...(query.filters ?? []), { member: m.name, operator: operatorsFor(m)[0] ?? "equals", values: [] }] })}
        />
        {sortable.length > 0 && (
          <Menu>
            <Menu.Target>
              <Button variant="default" leftSection={<IconSortAscending size={16} aria-hidden />}>
                {t.addOrder}
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              {sortable.map((n) => (
                <Menu.Item
                  key={n}
                  onClick={() => onChange({ ...query, order: [...(query.order ?? []), [n, of(n).kind === "measure" ? "desc" : "asc"]] })}
                >
                  {of(n).title}
                </Menu.Item>
              ))}
            </Menu.Dropdown>
          </Menu>
        )}
        <TextInput
          label={t.limit}
          classNames={{ root: classes.inline, wrapper: classes.limit }}
          inputMode="numeric"
          value={query.limit ?? ""}
          placeholder={String(defaultLimit)}
          onChange={(e) => {
            const n = Number.parseInt(e.currentTarget.value.replace(/\D/g, ""), 10);
            onChange(tidy({ ...query, limit: n > 0 ? Math.min(n, 50_000) : undefined }));
          }}
        />
        <Select
          label={t.timezone}
          classNames={{ root: classes.inline, wrapper: classes.zone }}
          value={query.timezone ?? "UTC"}
          data={[...new Set(["UTC", timezone, ...Intl.supportedValuesOf("timeZone")])]}
          searchable
          allowDeselect={false}
          limit={60}
          comboboxProps={{ width: 240, position: "bottom-end" }}
          onChange={(v) => onChange(tidy({ ...query, timezone: v === null || v === "UTC" ? undefined : v }))}
        />
      </div>

      <div className={classes.bar}>
        {running ? (
          <Button color="gray" leftSection={<IconPlayerStopFilled size={15} aria-hidden />} onClick={onStop}>
            {t.stop}
          </Button>
        ) : (
          <Tooltip label={shortcut()}>
            <Button leftSection={<IconPlayerPlayFilled size={15} aria-hidden />} onClick={onRun} disabled={!isRunnable(query)} aria-keyshortcuts="Control+Enter Meta+Enter">
              {t.run}
            </Button>
          </Tooltip>
        )}
        <CopyAs query={toSend(query)} disabled={!isRunnable(query)} />
        <span className={classes.grow} />
        {!empty && (
          <Button variant="subtle" color="gray" onClick={() => onChange({})}>
            {t.reset}
          </Button>
        )}
      </div>
    </section>
  );
}

function shortcut(): string {
  return /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘ Enter" : "Ctrl Enter";
}

function Row({ label, of, children }: { label: string; of?: unknown[]; children: ReactNode }) {
  if (of === undefined || of.length === 0) return null;
  return (
    <div className={classes.row} role="group" aria-label={label}>
      <span className={classes.label} aria-hidden>
        {label}
      </span>
      <div className={classes.items}>{children}</div>
    </div>
  );
}

/** A button that asks for one member, with search. */
function MemberMenu({ label, icon, members, onPick }: { label: string; icon: ReactNode; members: Member[]; onPick: (m: Member) => void }) {
  const [open, setOpen] = useState(false);
  if (!open) {
    return (
      <Button variant="default" leftSection={icon} onClick={() => setOpen(true)} disabled={members.length === 0}>
        {label}
      </Button>
    );
  }
  return (
    <Select
      aria-label={t.filterMember}
      placeholder={t.filterMember}
      className={classes.pick}
      searchable
      autoFocus
      defaultDropdownOpened
      limit={100}
      data={members.map((m) => ({ value: m.name, label: m.title }))}
      onBlur={() => setOpen(false)}
      onChange={(name) => {
        const m = members.find((x) => x.name === name);
        setOpen(false);
        if (m) onPick(m);
      }}
    />
  );
}

function CopyAs({ query, disabled }: { query: Query; disabled: boolean }) {
  const { copied, copy } = useCopy();
  const Icon = copied ? IconCheck : IconCopy;
  const ways: [string, () => string][] = [
    [t.copyAsCurl, () => asCurl(query)],
    [t.copyAsJS, () => asJavaScript(query)],
    [t.copyAsJSON, () => asJSON(query)],
    [t.copyAsURL, () => window.location.href],
  ];
  return (
    <Menu>
      <Menu.Target>
        <Button variant="default" leftSection={<Icon size={16} aria-hidden />} disabled={disabled}>
          {copied ? strings.common.copied : t.copyAs}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {ways.map(([name, make]) => (
          <Menu.Item key={name} onClick={() => void copy(make())}>
            {name}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
