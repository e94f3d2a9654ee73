import { ActionIcon, Button, Input, TextInput } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import { strings } from "../strings";
import classes from "./Form.module.css";

type Pair<K extends string> = Record<K, string>;

interface Props<K extends string> {
  /** The field: its button can be found by the summary of mistakes. */
  field: string;
  label: string;
  help: string;
  add: string;
  columns: readonly [{ key: K; label: string }, { key: K; label: string }];
  rows: Pair<K>[];
  error?: string;
  readOnly: boolean;
  onChange: (rows: Pair<K>[]) => void;
}

/** A list of pairs, such as the name and the value of a parameter. */
export function PairRows<K extends string>({ field, label, help, add, columns, rows, error, readOnly, onChange }: Props<K>) {
  const change = (i: number, key: K, value: string) => onChange(rows.map((r, at) => (at === i ? { ...r, [key]: value } : r)));
  const empty = () => Object.fromEntries(columns.map((c) => [c.key, ""])) as Pair<K>;
  if (readOnly && rows.length === 0) return null;
  return (
    <div role="group" aria-labelledby={`${field}-label`}>
      <Input.Label id={`${field}-label`} labelElement="div">
        {label}
      </Input.Label>
      <Input.Description>{help}</Input.Description>
      {rows.map((row, i) => (
        <div key={i} className={classes.param}>
          {columns.map((c) => (
            <TextInput key={c.key} aria-label={`${c.label} ${i + 1}`} placeholder={c.label} value={row[c.key]} readOnly={readOnly} onChange={(e) => change(i, c.key, e.currentTarget.value)} />
          ))}
          {!readOnly && (
            <ActionIcon variant="subtle" color="gray" size={36} aria-label={strings.common.remove(row[columns[0].key] || `${i + 1}`)} onClick={() => onChange(rows.filter((_, at) => at !== i))}>
              <IconX size={16} aria-hidden />
            </ActionIcon>
          )}
        </div>
      ))}
      {error && (
        <Input.Error mt={4} role="alert">
          {error}
        </Input.Error>
      )}
      {!readOnly && (
        <Button id={`field-${field}`} mt="xs" variant="default" size="xs" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => onChange([...rows, empty()])}>
          {add}
        </Button>
      )}
    </div>
  );
}
