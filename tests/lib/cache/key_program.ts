// A program that a suite starts many of: key_program.ts FOLDER [FILE-OR-KEYRING]. It prints the key's id, place and a hash.
import process from "node:process";
import { openStoreKey } from "../../../lib/cache/store_key.ts";

const [folder = "", keyPlace] = process.argv.slice(2);
const { id, bytes, place } = await openStoreKey(folder, { keyPlace: keyPlace as "file" | undefined });
const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toString();
process.stdout.write(`${JSON.stringify({ id, place, hash })}\n`);
