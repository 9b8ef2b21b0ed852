// A program that a suite starts many of, or kills: file_program.ts ACTION PATH [COUNT]. What it has to say is a line.
import { closeSync, existsSync, openSync, readdirSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import type { LatchkeyError } from "../../../lib/errors.ts";
import { withLock } from "../../../lib/files/lock.ts";
import { readPrivateFile, replacePrivateFile } from "../../../lib/files/private_files.ts";

const [action, path = "", count = "1"] = process.argv.slice(2);
const decoder = new TextDecoder(), encoder = new TextEncoder();

/** Fails when another process is in here. */
async function increment(): Promise<void> {
  const inside = `${path}.inside`;
  closeSync(openSync(inside, "wx"));
  const number = Number(decoder.decode(await readPrivateFile(path)));
  await replacePrivateFile(path, encoder.encode(String(number + 1)));
  unlinkSync(inside);
}

switch (action) {
  case "count":
    for (let done = 0; done < Number(count); done++) {
      await withLock(`${path}.lockfile`, increment, { waitMs: 300_000 });
    }
    break;
  case "hold":
    await withLock(path, () => {
      process.stdout.write("held\n");
      return new Promise((resolve) => setTimeout(resolve, 1_000_000));
    });
    break;
  // Contents of one letter each, and never the same twice in a row.
  case "replace":
    for (let round = 0;; round++) {
      await replacePrivateFile(path, new Uint8Array(Number(count)).fill("abc".charCodeAt(round % 3)));
      process.stdout.write("replaced\n");
    }
  case "write":
    await tell(() => replacePrivateFile(path, new Uint8Array(Number(count)).fill(97)));
    break;
  case "lock":
    await tell(() => withLock(path, async () => {}));
    break;
  default:
    throw new Error(`No action ${action}`);
}

/** Says how it ended, and what is then in the folder. */
async function tell(work: () => Promise<void>): Promise<void> {
  let failure = {};
  try {
    await work();
  } catch (error) {
    const { name, code, message, hint } = error as LatchkeyError;
    failure = { name, code, message, hint };
  }
  const folder = dirname(path), left = existsSync(folder) ? readdirSync(folder) : undefined;
  process.stdout.write(`${JSON.stringify({ ...failure, left })}\n`);
}
