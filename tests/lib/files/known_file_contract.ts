import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import { readKnownFile, replacePrivateFile } from "../../../lib/files/private_files.ts";
import { failure, useStage } from "../../fixture.ts";

const OLD = 1_000_000_000, NEW = 1_000_000_001;
const stage = useStage();

/** A file whose last change was then, in seconds since 1970. */
function newFile(text: string, changed = OLD): string {
  const path = join(stage.newFolder(), "file");
  fs.writeFileSync(path, text, { mode: 0o600 });
  fs.utimesSync(path, changed, changed);
  return path;
}

function textOf(known: { readonly bytes: Uint8Array } | undefined): string | undefined {
  return known && new TextDecoder().decode(known.bytes);
}

describe("readKnownFile()", () => {
  test("gives the same object for a file that is as it was", async () => {
    const path = newFile("one"), known = await readKnownFile(path, undefined);
    expect(textOf(known)).toBe("one");
    expect(await readKnownFile(path, known)).toBe(known!);
  });

  test("reads again what was written, replaced, or just changed, be it of the same size", async () => {
    const path = newFile("one"), known = await readKnownFile(path, undefined);
    fs.writeFileSync(path, "two");
    fs.utimesSync(path, NEW, NEW);
    const written = await readKnownFile(path, known);
    expect(textOf(written)).toBe("two");

    fs.renameSync(newFile("six", NEW), path);
    const replaced = await readKnownFile(path, written);
    expect(textOf(replaced)).toBe("six");

    // Too young for its time to tell it from what is written in the same moment.
    fs.writeFileSync(path, "ten");
    const young = await readKnownFile(path, replaced);
    expect([textOf(young), young?.settled]).toEqual(["ten", undefined]);
    fs.writeFileSync(path, "win");
    expect(textOf(await readKnownFile(path, young))).toBe("win");
  });

  // For 5 seconds after a change, each request parsed the whole file: with 1,000 accounts, Node served 6 a second.
  test("gives the same bytes for content that is as it was, however young or however often replaced", async () => {
    const path = newFile("one", Date.now() / 1000), young = await readKnownFile(path, undefined);
    expect(young?.settled).toBeUndefined();
    expect((await readKnownFile(path, young))!.bytes).toBe(young!.bytes);
    fs.renameSync(newFile("one"), path);
    const replaced = await readKnownFile(path, young);
    expect(replaced!.bytes).toBe(young!.bytes);
    expect(replaced!.settled).toBeDefined();
    expect(await readKnownFile(path, replaced)).toBe(replaced!);
  });

  test("sees a write that leaves size and modification time as they were", async () => {
    const path = newFile("one"), known = await readKnownFile(path, undefined);
    fs.renameSync(newFile("two"), path);
    expect(textOf(await readKnownFile(path, known))).toBe("two");
  });

  test("gives nothing for a file that is not there any more", async () => {
    const path = newFile("one"), known = await readKnownFile(path, undefined);
    fs.rmSync(path);
    expect(await readKnownFile(path, known)).toBeUndefined();
    expect(await readKnownFile(join(stage.folder, "missing", "file"), known)).toBeUndefined();
  });

  test("refuses a known file that others can write by now", async () => {
    const path = newFile("one"), known = await readKnownFile(path, undefined);
    fs.chmodSync(path, 0o666);
    expect(await failure(readKnownFile(path, known))).toMatchObject({ code: "configuration" });
  });

  test("ends with the signal's reason", async () => {
    const reason = new Error("no more"), path = newFile("one");
    await expect(readKnownFile(path, undefined, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe("replacePrivateFile()", () => {
  test("leaves a file as it is when `beforeRenaming` throws, and rethrows that", async () => {
    const path = newFile("one"), before = fs.readdirSync(join(path, "..")), seen: string[] = [];
    const beforeRenaming = () => {
      seen.push(fs.readFileSync(path, "utf8"));
      throw new SyntaxError("not now");
    };
    await expect(replacePrivateFile(path, new TextEncoder().encode("two"), { beforeRenaming })).rejects.toThrow(
      "not now",
    );
    expect([seen, fs.readFileSync(path, "utf8"), fs.readdirSync(join(path, ".."))]).toEqual([["one"], "one", before]);
  });
});
