import { NativeSelect, TagsInput } from "@mantine/core";
import { strings } from "../strings";
import classes from "./Builder.module.css";
import { type Filter, type Member, operatorsFor, takesValues } from "./draft";
import { Pill } from "./Pill";

const t = strings.query;

interface Props {
  filter: Filter;
  members: Map<string, Member>;
  onChange: (f: Filter) => void;
  onRemove: () => void;
}

/** One filter: a member, an operator that fits its type, and values. Filters are joined by "and". */
export function FilterRow({ filter, members, onChange, onRemove }: Props) {
  const known = members.get(filter.member);
  const member = known ?? { name: filter.member, title: filter.member, shortTitle: filter.member, kind: "dimension" as const, cube: "" };
  const operators = [...new Set([...operatorsFor(known), filter.operator])];
  const isTime = member.type === "time";
  return (
    <div className={classes.line}>
      <Pill member={member} known={known !== undefined} onRemove={onRemove} />
      <NativeSelect
        aria-label={`${member.title}: ${t.operator}`}
        value={filter.operator}
        data={operators.map((o) => ({ value: o, label: t.operators[o] ?? o }))}
        onChange={(e) => {
          const operator = e.currentTarget.value;
          onChange(takesValues(operator) ? { ...filter, operator, values: filter.values ?? [] } : { member: filter.member, operator });
        }}
      />
      {takesValues(filter.operator) && (
        <TagsInput
          className={classes.values}
          aria-label={`${member.title}: ${t.values}`}
          placeholder={filter.values?.length ? undefined : isTime ? t.dateHint : t.valuesHint}
          value={filter.values ?? []}
          data={member.type === "boolean" ? ["true", "false"] : []}
          maxTags={isTime ? 2 : 500}
          onChange={(values) => onChange({ ...filter, values })}
        />
      )}
    </div>
  );
}
