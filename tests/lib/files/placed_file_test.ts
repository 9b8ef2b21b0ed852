import { expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { placeFile } from "../../../lib/files/placed_file.ts";
import { failureOf } from "../../tools/failure_of.ts";

test("placeFile() writes to no folder that everybody may change", async () => {
  const folder = mkdtempSync(join(tmpdir(), "placed-file-")), path = join(folder, "az");
  try {
    chmodSync(folder, 0o777);
    expect(await failureOf(placeFile(path, "#!/bin/sh\n", 0o755))).toMatchObject({
      ...{ code: "configuration", hint: `Run chmod o-w ${folder}, or choose another folder` },
    });
    expect(existsSync(path)).toBe(false);
    chmodSync(folder, 0o755);
    await placeFile(path, "#!/bin/sh\n", 0o755);
    expect(statSync(path).mode & 0o777).toBe(0o755);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
