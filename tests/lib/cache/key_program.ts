// A program that a suite starts many of, or with few permissions: key_program.ts FOLDER. It prints the key's id, place, why
// and hash, or how it failed.
import process from "node:process";
import { LatchkeyError } from "../../../lib/errors.ts";
import { openEncryptionKey } from "../../../lib/cache/encryption_key.ts";

try {
  const { id, bytes, place, why } = await openEncryptionKey(process.argv[2] ?? "");
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toString();
  process.stdout.write(`${JSON.stringify({ id, place, why, hash })}\n`);
} catch (error) {
  if (!(error instanceof LatchkeyError)) throw error;
  const { code, message, hint } = error;
  process.stdout.write(`${JSON.stringify({ code, message, hint })}\n`);
}
