/** A copy of what a commit would have, to build in: npm changes files of the folder that it packs. */
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { commitableFiles } from "../tools/commitable_files.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** A folder that is removed when it is disposed of. */
export interface CheckoutCopy extends Disposable {
  readonly path: string;
}

/** Copies the checkout; npm's packages, and what the tests bring, stay where they are. */
export function copyCheckout(): CheckoutCopy {
  const path = mkdtempSync(join(tmpdir(), "latchkey-checkout-"));
  for (const file of commitableFiles()) cpSync(join(root, file), join(path, file));
  for (const folder of ["node_modules", ".latchkey-tools"]) symlinkSync(join(root, folder), join(path, folder));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
