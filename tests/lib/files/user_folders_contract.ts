// The folders of a person, as the environment of each runtime has them.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import process from "node:process";
import { configFolder, stateFolder } from "../../../lib/files/user_folders.ts";

const names = ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"];
let before: (string | undefined)[];

beforeEach(() => {
  before = names.map((name) => process.env[name]);
});

afterEach(() => set(...before));

/** Sets, or takes away, the variables in their order. */
function set(...values: readonly (string | undefined)[]): void {
  for (const [index, name] of names.entries()) {
    const value = values[index];
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

describe("stateFolder() and configFolder()", () => {
  test("are below the home folder", () => {
    set("/home/jane");
    expect([stateFolder(), configFolder()]).toEqual([
      "/home/jane/.local/state/latchkey",
      "/home/jane/.config/latchkey",
    ]);
    set("/");
    expect([stateFolder(), configFolder()]).toEqual(["/.local/state/latchkey", "/.config/latchkey"]);
    set("/home/jane//");
    expect(configFolder()).toBe("/home/jane/.config/latchkey");
  });

  test("are where XDG's variables say, which need no home folder", () => {
    set(undefined, "/state", "/etc/jane/");
    expect([stateFolder(), configFolder()]).toEqual(["/state/latchkey", "/etc/jane/latchkey"]);
  });

  test("heed no empty or relative variable of XDG's", () => {
    set("/home/jane", "state", "");
    expect([stateFolder(), configFolder()]).toEqual([
      "/home/jane/.local/state/latchkey",
      "/home/jane/.config/latchkey",
    ]);
  });

  test("say that there is no home folder", () => {
    const failure = expect.objectContaining({
      name: "LatchkeyError",
      code: "configuration",
      message: "HOME is not set to the absolute path of a folder",
    });
    for (const home of [undefined, "", "jane", "~"]) {
      set(home, "/state");
      expect(stateFolder()).toBe("/state/latchkey");
      expect(configFolder).toThrow(failure);
    }
  });
});
