import { useId } from "react";
import classes from "./Segments.module.css";

interface Props<Value extends string> {
  label: string;
  value: Value;
  /** What each is called; name is for who does not see the others beside it. */
  choices: readonly { value: Value; label: string; name?: string }[];
  onChange: (value: Value) => void;
}

/** One of a few, side by side: radio buttons, with the keys that those have. */
export function Segments<Value extends string>({ label, value, choices, onChange }: Props<Value>) {
  const name = useId();
  return (
    <div role="radiogroup" aria-labelledby={`${name}-label`} className={classes.segments}>
      <span id={`${name}-label`} className={classes.label}>
        {label}
      </span>
      <span className={classes.choices}>
        {choices.map((choice) => (
          <label key={choice.value} className={classes.choice}>
            <input type="radio" name={name} value={choice.value} checked={choice.value === value} aria-label={choice.name ?? choice.label} onChange={() => onChange(choice.value)} />
            <span aria-hidden={choice.name !== undefined}>{choice.label}</span>
          </label>
        ))}
      </span>
    </div>
  );
}
