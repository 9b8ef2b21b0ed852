// A program on a small disk of its own: disk_program.ts fill-before|fill-while-working file|plaintext FOLDER. It renews what is in
// a store, and says what came of it.
import { appendFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileStore, LatchkeyError, plaintextStore } from "../../../mod.ts";

const [action, kind, folder = ""] = process.argv.slice(2), filler = join(folder, "filler");
const store = kind === "file"
  ? fileStore({ folder, keyLocation: "file" })
  : plaintextStore(join(folder, "tokens.json"));

/** Leaves no block. */
function fill(): void {
  writeFileSync(filler, "");
  for (const size of [65_536, 4096, 1]) {
    try {
      for (;;) appendFileSync(filler, "x".repeat(size));
    } catch {
      // It is full.
    }
  }
}

const change = (Own: string) => (): string => JSON.stringify({ Own, Padding: "x".repeat(50_000) });
await store.update("jane", change("old"));
const before = readdirSync(folder).length;
if (action === "fill-before") fill();
let worked = false, failure, left;
try {
  await store.withLock!("jane", async () => {
    worked = true;
    fill();
    await store.update("jane", change("new"));
  });
} catch (error) {
  if (!(error instanceof LatchkeyError)) throw error;
  const { name, code, error: kind, message, hint } = error;
  failure = { name, code, error: kind, message, hint };
  rmSync(filler);
  left = readdirSync(folder).length - before;
}
const { Own } = JSON.parse((await store.read("jane"))!);
process.stdout.write(JSON.stringify({ worked, failure, document: { Own }, left }));
