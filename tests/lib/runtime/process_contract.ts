// Programs of the machine, run on every runtime. That something was killed shows at a named pipe that it held open.
import { describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { runCommand, startDetached, StartError } from "../../../lib/runtime/process.ts";
import { findTool } from "../../tools/find_tool.js";
import { rejection, useStage } from "../../fixture.ts";

const stage = useStage();
let count = 0;

/** A named pipe: what is first written into it, and when nobody holds it open any more. */
async function openPipe() {
  const path = join(stage.folder, `pipe-${count++}`);
  await runCommand(["mkfifo", path]);
  const reader = spawn("cat", [path], { stdio: ["ignore", "pipe", "inherit"] });
  const released = once(reader, "close");
  return { path, firstText: once(reader.stdout, "data").then(([text]) => String(text).trim()), released };
}

/** A program that every system has: what it does, and the arguments that it finds as `words`. */
function small(code: string, ...words: readonly string[]): readonly string[] {
  return [findTool("node"), "-e", `const words = process.argv.slice(1); ${code}`, "--", ...words];
}

const COPY = "process.stdin.pipe(process.stdout);";

describe("runCommand()", () => {
  test("gives input and returns what was printed", async () => {
    const script = `${COPY} process.stderr.write("failed\\n"); process.exitCode = 3;`;
    expect(await runCommand(small(script), { input: "jäne 🔑\n" }))
      .toEqual({ code: 3, stdout: "jäne 🔑\n", stderr: "failed\n" });
  });

  test("gives an empty input unless it is told one", async () => {
    expect(await runCommand(small(COPY))).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("does not fail when the input is not read", async () => {
    expect((await runCommand(small(""), { input: "x".repeat(1_000_000) })).code).toBe(0);
  });

  test("takes a byte order mark off", async () => {
    expect((await runCommand(small('process.stdout.write("\\uFEFF{}\\r\\n")'))).stdout).toBe("{}\r\n");
  });

  test("has no shell look at the arguments", async () => {
    const words = ["$HOME", "a b", "'", '"', ";", "*", "%s", ""];
    const print = small("console.log(JSON.stringify(words))", ...words);
    expect(JSON.parse((await runCommand(print)).stdout)).toEqual(words);
  });

  test("sets variables beside those that are there", async () => {
    const { stdout } = await runCommand(small("const { env } = process; console.log(env.LATCHKEY_TEST, !!env.PATH)"), {
      environment: { LATCHKEY_TEST: "a b" },
    });
    expect(stdout).toBe("a b true\n");
  });

  test("gives 128 and the signal's number for what a signal ended", async () => {
    expect((await runCommand(["sh", "-c", "kill -KILL $$"])).code).toBe(137);
  });

  test("tells a program that is not there", async () => {
    const error = await rejection(runCommand([join(stage.folder, "nowhere"), "--secret"]));
    expect(error).toBeInstanceOf(StartError);
    expect(error).toMatchObject({ isMissing: true });
    expect(inspect(error)).not.toContain("--secret");
  });

  test("tells a program that cannot be run", async () => {
    const error = await rejection(runCommand([stage.folder, "--secret"]));
    expect(error).toBeInstanceOf(StartError);
    expect(error).toMatchObject({ isMissing: false });
    expect(inspect(error)).not.toContain("--secret");
  });

  test("ends what prints too much", async () => {
    const pipe = await openPipe();
    const running = runCommand(["sh", "-c", `exec 3>"$1"; exec yes`, "sh", pipe.path], { maxOutputBytes: 100_000 });
    expect(await rejection(running)).toMatchObject({ code: "invalid_response" });
    await pipe.released;
  });

  test("takes as much as it may print", async () => {
    const print = small('process.stdout.write("x".repeat(100_000))');
    expect((await runCommand(print, { maxOutputBytes: 100_000 })).stdout).toBe("x".repeat(100_000));
  });

  test("gives up after the time limit on what ignores a friendly signal", async () => {
    const running = runCommand(["sh", "-c", "trap '' TERM INT HUP; sleep 1000"], { timeoutMs: 20 });
    expect(await rejection(running)).toMatchObject({ name: "LatchkeyError", code: "timed_out" });
  });

  test.each([Infinity, 2 ** 31])("takes a time limit of %p for a long one", async (timeoutMs) => {
    expect((await runCommand(small('setTimeout(() => console.log("done"), 50)'), { timeoutMs })).stdout).toBe("done\n");
  });

  test("gives up after the time limit on what does not read its input", async () => {
    const running = runCommand(small("setInterval(() => {}, 1e6)"), { timeoutMs: 20, input: "x".repeat(1_000_000) });
    expect(await rejection(running)).toMatchObject({ code: "timed_out" });
  });

  test("kills what the program started, too", async () => {
    const pipe = await openPipe(), controller = new AbortController();
    const script = `trap '' TERM; (trap '' TERM; exec 3>"$1"; echo ready >&3; sleep 1000) & sleep 1000`;
    const running = rejection(runCommand(["sh", "-c", script, "sh", pipe.path], { signal: controller.signal }));
    expect(await pipe.firstText).toBe("ready");
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await running).toBe(reason);
    await pipe.released;
  });

  test("is not held by a grandchild in a session of its own that keeps the output open", async () => {
    const pipe = await openPipe();
    const script = `setsid sh -c 'exec 3>"$1"; echo $$ >&3; exec sleep 1000' sh "$1" & echo done`;
    expect(await runCommand(["sh", "-c", script, "sh", pipe.path])).toEqual({ code: 0, stdout: "done\n", stderr: "" });
    process.kill(Number(await pipe.firstText), "SIGKILL");
    await pipe.released;
  });

  test("starts nothing when the signal is aborted already", async () => {
    const reason = new Error("enough");
    expect(await rejection(runCommand([join(stage.folder, "nowhere")], { signal: AbortSignal.abort(reason) }))).toBe(
      reason,
    );
  });
});

describe("startDetached()", () => {
  test("says whether the program started", async () => {
    expect(await startDetached(["true"])).toBe(true);
    expect(await startDetached(["false"])).toBe(false);
    expect(await startDetached(["false"], { ignoreCode: true })).toBe(true);
    expect(await startDetached([join(stage.folder, "nowhere")])).toBe(false);
    expect(await startDetached([stage.folder])).toBe(false);
  });

  // PATH with an empty entry, or with a dot, had a program of the current folder run in place of the machine's.
  test.each([":", ".:", "bin:", "./bin:../bin:", ""])(
    "looks for no program in the current folder: PATH begins with %j",
    async (entries) => {
      const cwd = await mkdtemp(join(stage.folder, "cwd-")), good = await mkdtemp(join(stage.folder, "good-"));
      await mkdir(join(cwd, "bin"));
      const evil = join(cwd, "evil"), write = (path: string) => `#!/bin/sh\n: >${path}\n`;
      for (const name of ["browser", "bin/browser", "only", "bin/only"]) {
        await writeFile(join(cwd, name), write(evil), { mode: 0o755 });
      }
      await writeFile(join(good, "browser"), write(join(good, "ran")), { mode: 0o755 });
      const program = fileURLToPath(new URL("leave_running.ts", import.meta.url));
      const runtime = "Deno" in globalThis
        ? [process.execPath, "run", "--no-config", "--allow-all"]
        : [process.execPath];
      const environment = { PATH: entries === "" ? "" : `${entries}${good}` };
      const start = async (name: string) =>
        (await runCommand(["/usr/bin/env", `--chdir=${cwd}`, ...runtime, program, name], { environment })).stdout;
      expect(await start("only")).toBe("false\n");
      expect(await start("browser")).toBe(`${entries !== ""}\n`);
      expect([existsSync(evil), existsSync(join(good, "ran"))]).toEqual([false, entries !== ""]);
    },
  );

  test("lets the program go on when this one has ended", async () => {
    const pipe = await openPipe(), script = `exec 3>"$1"; echo $$ >&3; exec sleep 1000`;
    const program = fileURLToPath(new URL("leave_running.ts", import.meta.url));
    const runtime = "Deno" in globalThis ? [process.execPath, "run", "--no-config", "--allow-run"] : [process.execPath];
    const left = await runCommand([...runtime, program, "sh", "-c", script, "sh", pipe.path]);
    expect(left).toEqual({ code: 0, stdout: "true\n", stderr: "" });
    process.kill(Number(await pipe.firstText), "SIGKILL");
    await pipe.released;
  });
});
