// Fails the build when the first load, as a browser gets it (gzip), is over its budget: the page, the files that it
// names, what those import at once, and the same for the screen that one lands on.
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const budget = 250_000;
const dist = fileURLToPath(new URL("../../dist/", import.meta.url));
const read = (name) => readFileSync(dist + name);

const page = read("index.html").toString();
const wanted = [...page.matchAll(/(?:src|href)="(?:\.\/)?([^"]+\.(?:js|css|svg))"/g)].map((m) => m[1]);
const landing = readdirSync(dist + "assets").filter((name) => /^QueryPage-.*\.(js|css)$/.test(name));
if (landing.length !== 2) throw new Error(`the landing screen should be one script and one style sheet, not ${landing}`);
wanted.push(...landing.map((name) => `assets/${name}`));
const seen = new Map([["index.html", gzipSync(page).length]]);
while (wanted.length > 0) {
  const name = wanted.pop();
  if (seen.has(name)) continue;
  const body = read(name);
  seen.set(name, gzipSync(body, { level: 9 }).length);
  if (!name.endsWith(".js")) continue;
  for (const m of body.toString().matchAll(/(?:from|import)\s*"\.\/([^"]+\.js)"/g)) {
    wanted.push("assets/" + basename(m[1]));
  }
}
let total = 0;
for (const [name, size] of seen) {
  total += size;
  console.log(`${String(size).padStart(8)}  ${name}`);
}
console.log(`${String(total).padStart(8)}  first load, gzip (budget ${budget})`);
if (total > budget) {
  console.error(`The first load is ${total - budget} bytes over its budget.`);
  process.exit(1);
}
