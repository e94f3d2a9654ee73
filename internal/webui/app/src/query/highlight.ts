const keywords = new Set(
  (
    "select from where group by order having limit offset as and or not in is null like ilike between case when then else end " +
    "left right inner outer full cross join on using with union all distinct asc desc nulls first last interval cast true false over partition"
  ).split(" "),
);

export interface Part {
  kind: "" | "keyword" | "string" | "number" | "comment" | "param";
  text: string;
}

/** Splits SQL into parts to colour. It only colours: what it does not know stays as it is. */
export function highlight(sql: string): Part[] {
  const parts: Part[] = [];
  const lexer = /(--[^\n]*|\/\*[\s\S]*?\*\/)|('(?:[^']|'')*')|("(?:[^"]|"")*"|`[^`]*`)|(\$\d+|\?)|(\b\d+(?:\.\d+)?\b)|([A-Za-z_]\w*)|([\s\S])/g;
  for (const m of sql.matchAll(lexer)) {
    const [text, comment, string, , param, number, word] = m;
    const kind = comment ? "comment" : string ? "string" : param ? "param" : number ? "number" : word && keywords.has(word.toLowerCase()) ? "keyword" : "";
    const last = parts.at(-1);
    if (kind === "" && last?.kind === "") last.text += text;
    else parts.push({ kind, text });
  }
  return parts;
}
