import { beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, lchownSync, mkdirSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { placeFile, requireClosedPlace } from "../../../lib/files/placed_file.ts";
import { failure, useStage } from "../../fixture.ts";

const stage = useStage();
let folder: string;
beforeEach(() => void (folder = stage.newFolder()));

test("placeFile() writes to no folder that every user may change", async () => {
  const path = join(folder, "config");
  for (const mode of [0o777, 0o1777]) {
    chmodSync(folder, mode);
    expect(await failure(placeFile(path, "users: []\n", 0o600))).toMatchObject({
      ...{ code: "configuration", hint: "Move the file to a folder of your own" },
    });
    expect(existsSync(path)).toBe(false);
  }
  chmodSync(folder, 0o755);
  await placeFile(path, "users: []\n", 0o640);
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

// A program was written to a folder that a group can write, or that another user owns, and later run from there.
describe("requireClosedPlace()", () => {
  const isRoot = process.getuid?.() === 0;
  const NOBODY = 65_534;
  const refusalOf = (...below: string[]) => failure(requireClosedPlace(join(folder, ...below, "az")));

  test("permits what only root and this user can change, be it there or not", async () => {
    await requireClosedPlace(join(folder, "az"));
    await requireClosedPlace(join(folder, "new/bin/az"));
    mkdirSync(join(folder, "sticky/bin"), { recursive: true });
    chmodSync(join(folder, "sticky"), 0o1777);
    await requireClosedPlace(join(folder, "sticky/bin/az"));
  });

  // The missing folder was created after the check: below a sticky one, another user could create it in between.
  test("creates the folder before it checks the path, and none where others can change it", async () => {
    await requireClosedPlace(join(folder, "new/bin/az"));
    for (const below of ["new", "new/bin"]) expect(statSync(join(folder, below)).mode & 0o777).toBe(0o700);
    mkdirSync(join(folder, "open"));
    chmodSync(join(folder, "open"), 0o777);
    await failure(requireClosedPlace(join(folder, "open/new/az")));
    expect(existsSync(join(folder, "open/new"))).toBe(false);
  });

  test.each([[0o775, true], [0o777, true], [0o2775, false]])(
    "refuses a folder of mode %o, and what is below it",
    async (mode, isClosedByCommand) => {
      mkdirSync(join(folder, "open/bin"), { recursive: true });
      chmodSync(join(folder, "open"), mode);
      const where = "a folder that only you and root can change";
      for (const below of [["open"], ["open", "bin"], ["open", "missing"]]) {
        expect(await refusalOf(...below)).toMatchObject({
          code: "configuration",
          message: expect.stringContaining(`${join(folder, "open")} is not safe: others can write to it`),
          hint: isClosedByCommand ? `Run chmod go-w ${join(folder, "open")}, or choose ${where}` : `Choose ${where}`,
        });
      }
    },
  );

  test.each(isRoot ? ["folder", "link"] : [])("refuses another user's %s", async (kind) => {
    const theirs = join(folder, "theirs");
    if (kind === "folder") {
      mkdirSync(theirs);
      chownSync(theirs, NOBODY, NOBODY);
    } else {
      mkdirSync(join(folder, "target"));
      symlinkSync("target", theirs);
      lchownSync(theirs, NOBODY, NOBODY);
    }
    expect(await refusalOf("theirs")).toMatchObject({
      code: "configuration",
      message: expect.stringContaining(`${theirs} is not safe: it belongs to user ${NOBODY}`),
      hint: "Choose a folder that only you and root can change",
    });
  });
});
