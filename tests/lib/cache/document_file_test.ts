// A document in a file, with a format that counts how often it is decoded.
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DocumentFile, type DocumentFormat, MSAL_FORMAT } from "../../../lib/cache/document_file.ts";
import { useStage } from "../../fixture.ts";

const stage = useStage();

// For 5 seconds after a change, each read decoded the whole file: with 1,000 accounts, Node served 6 requests a second.
for (const isShared of [true, false]) {
  test(`DocumentFile.read() decodes a ${isShared ? "shared" : "private"} file that was just changed once`, async () => {
    let decoded = 0;
    const format: DocumentFormat = {
      ...MSAL_FORMAT,
      isShared,
      decode: (bytes, call) => {
        decoded++;
        return MSAL_FORMAT.decode(bytes, call);
      },
    };
    const path = join(stage.newFolder(), "tokens.json");
    const file = new DocumentFile(path, { format, log: undefined });
    const other = new DocumentFile(path, { format: MSAL_FORMAT, log: undefined });
    await file.update("jane", () => '{"first":1}');
    decoded = 0;
    for (let call = 0; call < 3; call++) expect(await file.read("jane")).toBe('{"first":1}');
    expect(decoded).toBe(1);
    await other.update("jane", () => '{"other":1}');
    for (let call = 0; call < 3; call++) expect(await file.readAccounts()).toEqual(['{"other":1}']);
    expect(decoded).toBe(2);
  });
}

// A file that another program was writing counted as damaged at once if the file server's clock was 5 seconds behind.
test("DocumentFile.read() waits for the end of a write, whatever the difference of this machine's clock", async () => {
  const path = join(stage.newFolder(), "tokens.json");
  const now = Date.now;
  let decoded = 0;
  const format: DocumentFormat = {
    ...MSAL_FORMAT,
    decode: (bytes, call) => {
      decoded++;
      if (decoded === 2) writeFileSync(path, '{"whole":1}'); // the first time is before the lock
      return MSAL_FORMAT.decode(bytes, call);
    },
  };
  writeFileSync(path, '{"whole"', { mode: 0o600 });
  try {
    Date.now = () => now() - 3_600_000; // the file is not settled: it is from the future
    const file = new DocumentFile(path, { format, log: undefined });
    const reading = file.read("jane");
    Date.now = () => now() + 3_600_000;
    expect(await reading).toBe('{"whole":1}');
  } finally {
    Date.now = now;
  }
});
