// Empties ../dist but for its dot-file, which keeps the folder in the repository.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));
mkdirSync(dist, { recursive: true });
for (const name of readdirSync(dist)) {
  if (!name.startsWith(".")) rmSync(dist + name, { recursive: true });
}
