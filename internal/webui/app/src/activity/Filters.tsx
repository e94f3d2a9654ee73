import { NativeSelect, TextInput } from "@mantine/core";
import { IconSearch } from "@tabler/icons-react";
import { isAdmin, useMe } from "../shell/me";
import { Segments } from "../ui/Segments";
import classes from "./Live.module.css";
import { change, type Search } from "./search";
import { live as t } from "./strings";

interface Props {
  search: Search;
  onSearch: (search: Search) => void;
  /** What there is to choose from: a state and what it is called. */
  states: Record<string, string>;
  sources?: string[];
  hint: string;
  /** Whether everybody's can be shown, to who may see that. */
  whose?: boolean;
}

/** Which of the rows are shown. They are all here already, so each letter counts. */
export function Filters({ search, onSearch, states, sources, hint, whose = true }: Props) {
  const admin = isAdmin(useMe());
  const set = (part: Parameters<typeof change>[1]) => onSearch(change(search, part));
  const named = search.source !== undefined && sources && !sources.includes(search.source) ? [...sources, search.source] : sources;
  return (
    <section className={classes.filters} aria-label={t.filters}>
      {admin && whose && (
        <Segments
          label={t.whose}
          value={search.all ? "all" : "mine"}
          choices={[
            { value: "mine", label: t.mine },
            { value: "all", label: t.everybodys },
          ]}
          onChange={(value) => set({ all: value === "all" || undefined, row: undefined })}
        />
      )}
      <TextInput
        className={classes.search}
        aria-label={t.search}
        placeholder={hint}
        leftSection={<IconSearch size={16} aria-hidden />}
        type="search"
        value={search.text ?? ""}
        spellCheck={false}
        autoComplete="off"
        onChange={(e) => set({ text: e.currentTarget.value })}
      />
      <NativeSelect
        aria-label={t.state}
        value={search.state ?? ""}
        data={[{ value: "", label: t.anyState }, ...Object.entries(states).map(([value, label]) => ({ value, label }))]}
        onChange={(e) => set({ state: e.currentTarget.value })}
      />
      {named && (
        <NativeSelect
          aria-label={t.source}
          value={search.source ?? ""}
          data={[{ value: "", label: t.anySource }, ...named.map((value) => ({ value, label: value }))]}
          onChange={(e) => set({ source: e.currentTarget.value })}
        />
      )}
    </section>
  );
}

/** Whether a row has these words in one of its texts. */
export function matches(text: string | undefined, ...of: string[]): boolean {
  const wanted = text?.trim().toLowerCase() ?? "";
  return of.some((one) => one.toLowerCase().includes(wanted));
}
