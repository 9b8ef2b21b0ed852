// The key of the token cache, in a real gnome-keyring whose prompts libgcr's own mock prompter answers, and in files.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { text as readText } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { inspect, promisify } from "node:util";
import {
  describeEncryptionKey,
  type EncryptionKeyOptions,
  findEncryptionKey,
  type KeyRecord,
  openEncryptionKey,
  readKey,
  readKeyRecord,
  writeKeyRecord,
} from "../../../lib/cache/encryption_key.ts";
import { encodeBase64 } from "../../../lib/encoding.ts";
import { withLock } from "../../../lib/files/lock.ts";
import { PROMPT_MS } from "../../../lib/keyring/secret_service.ts";
import { startAnsweringPeer } from "../../fakes/answering_peer.ts";
import { type KeyringPrompter, startKeyringPrompter } from "../../fakes/keyring_prompter.ts";
import { type PrivateBus, startPrivateBus } from "../../fakes/private_bus.ts";
import { addPrivateKeyring, killKeyring, lockKeyring } from "../../fakes/private_keyring.ts";
import { expectNoSecret, failure } from "../../fixture.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { denoRun, LEAST_PERMISSIONS } from "../../tools/deno_command.ts";
import { fastClock, standingClock } from "../../tools/test_clocks.ts";

const COLLECTION = "/org/freedesktop/secrets/collection/login";
const LOCKED = "the keyring (Secret Service) is locked";
const UNLOCK = "The keyring asks to be unlocked, in a window of its own";
const DISMISSED = `${LOCKED}, and its prompt was dismissed or could not be shown`;
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

let daemon: PrivateBus;
let folder: string;
const prompters: KeyringPrompter[] = [];
const peers: { stop(): void }[] = [];
let lines: string[];

/** Gives each test of a group a bus and a folder of its own. */
function useBus(): void {
  beforeEach(async () => {
    daemon = await startPrivateBus();
    folder = join(daemon.directory, "cache");
    lines = [];
    process.env.DBUS_SESSION_BUS_ADDRESS = daemon.address;
  });

  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.stop();
    await Promise.all(prompters.splice(0).map((prompter) => prompter.kill()));
    await daemon.stop();
  });
}

const log: EncryptionKeyOptions["log"] = (level, message) => void lines.push(`${level} ${message}`);
const open = (options: EncryptionKeyOptions = {}) => openEncryptionKey(folder, { log, ...options });
const find = (options: EncryptionKeyOptions = {}) => findEncryptionKey(folder, { log, ...options });
const describeKey = (options: EncryptionKeyOptions = {}) => describeEncryptionKey(folder, { log, ...options });
/** Writes what is known of a key, as it is if it is a string. */
async function writeRecord(content: unknown): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const text = typeof content === "string" ? content : JSON.stringify(content);
  await writeFile(join(folder, "key.json"), text, { mode: 0o600 });
}

const record = async () => JSON.parse(await readFile(join(folder, "key.json"), "utf8"));

async function addKeyring(
  state: Parameters<typeof addPrivateKeyring>[1],
  answers: Parameters<typeof startKeyringPrompter>[1] = [],
): Promise<KeyringPrompter> {
  const prompter = await startKeyringPrompter(daemon.address, answers);
  prompters.push(prompter);
  await addPrivateKeyring(daemon, state, prompter.name);
  return prompter;
}

// deno-lint-ignore require-await -- as the other beginnings
async function useNoBus(): Promise<void> {
  process.env.DBUS_SESSION_BUS_ADDRESS = "unix:path=/nonexistent";
}

/** A key in an open keyring, which is then locked by its restart. */
async function addLockedKey(answers: Parameters<typeof startKeyringPrompter>[1]) {
  await addPrivateKeyring(daemon, "unlocked");
  const key = await open();
  const prompter = await addKeyring("untouched", answers);
  await killKeyring(daemon.address);
  return { key, prompter };
}

describe("openEncryptionKey()", () => {
  useBus();

  test("puts a new key into an open keyring, and finds it there", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    const key = await open();
    expect(key).toMatchObject({ place: "secret-service", why: "it is there and can be used" });
    expect(key.bytes.length).toBe(32);
    expect(await record()).toEqual({
      id: key.id,
      place: "secret-service",
      why: key.why,
      collection: COLLECTION,
    });
    for (const again of [await open(), await find()]) expect(again).toMatchObject({ id: key.id, bytes: key.bytes });
    expect(lines).toEqual(["info The key of the token cache was put into the keyring (Secret Service)"]);
  });

  test("keeps what is written of it for this user alone", async () => {
    await open({ keyLocation: "file" });
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    expect((await stat(join(folder, "key.json"))).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(["key.json"]);
  });

  test("makes a key of its own for each folder", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    const key = await open(), other = await openEncryptionKey(join(daemon.directory, "other"));
    expect(other.id).not.toBe(key.id);
    expect(other.bytes).not.toEqual(key.bytes);
    expect((await find())?.bytes).toEqual(key.bytes);
  });

  test("is one key for twenty processes at once", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    const [program, ...args] = ownRuntimePath().program(), script = new URL("key_program.ts", import.meta.url);
    const printed = await Promise.all(Array.from({ length: 20 }, async () => {
      const { stdout } = await promisify(execFile)(program!, [...args, fileURLToPath(script), folder]);
      return stdout;
    }));
    expect(new Set(printed).size).toBe(1);
    expect(JSON.parse(printed[0]!)).toMatchObject({ id: (await record()).id, place: "secret-service" });
    expect(await readdir(folder)).toEqual(["key.json"]);
  });

  test.each(["file", "auto"] as const)("puts it into a file where there is no keyring (%s)", async (keyLocation) => {
    const key = await open({ keyLocation });
    expect(key.place).toBe("file");
    expect(await record()).toEqual({ id: key.id, place: "file", why: key.why, key: base64(key.bytes) });
    for (const again of [await open(), await find()]) expect(again).toMatchObject({ id: key.id, bytes: key.bytes });
    const why = "the keyring (Secret Service) is not there: no program serves it, and none can be started";
    expect(key.why).toBe(keyLocation === "file" ? "a file was asked for" : why);
    expect(lines).toEqual(
      keyLocation === "file" ? [] : [
        `info The key of the token cache goes into ${folder}/key.json: ${why}. To move it into the keyring ` +
        `(Secret Service): start a keyring, move ${folder} away, and sign in again`,
      ],
    );
  });

  test.each(
    [
      ["without a bus", "no bus", () => useNoBus()],
      [
        "when the keyring cannot be started",
        "and none can be started",
        () => daemon.addService("org.freedesktop.secrets", ["/bin/false"]),
      ],
      [
        "when the keyring does not know what it is asked",
        "failed",
        async () => peers.push(await startAnsweringPeer(daemon.address, ["org.freedesktop.secrets"], {})),
      ],
    ] as const,
  )("puts it into a file %s, and not when only a keyring will do", async (_, why, begin) => {
    await begin();
    const error = await failure(open({ keyLocation: "keyring" }));
    expect(error).toMatchObject({ name: "LatchkeyError", code: "configuration" });
    expect(error.message).toContain(why);
    expect(error.hint).toContain('keyLocation "auto"');
    expect(await find()).toBeUndefined();
    expect(await open()).toMatchObject({ place: "file", why: expect.stringContaining(why) });
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain(why);
  });

  test("leaves a key where it is, whatever is asked for", async () => {
    const inFile = await open({ keyLocation: "file" });
    await addPrivateKeyring(daemon, "unlocked");
    expect(await open({ keyLocation: "keyring" })).toMatchObject({ id: inFile.id, place: "file" });
  });

  test("asks the person to unlock the keyring, and puts the key into it", async () => {
    const prompter = await addKeyring("locked", ["password:wrong", "password:password"]);
    expect((await open()).place).toBe("secret-service");
    expect(await prompter.hasAnswersLeft()).toBe(false);
    expect(lines[0]).toBe(`warn ${UNLOCK}`);
  });

  test("asks the person to make a keyring where there is none, and puts the key into it", async () => {
    await addKeyring("empty", ["password:new"]);
    const key = await open();
    expect(lines[0]).toBe("warn The keyring asks for the password of a new keyring, in a window of its own");
    expect(key.place).toBe("secret-service");
    expect((await find({ mayPrompt: false }))?.bytes).toEqual(key.bytes);
  });

  test.each(
    [
      ["locked", "cancel", true, DISMISSED],
      ["locked", "cancel", false, LOCKED],
      ["empty", "cancel", true, "the keyring (Secret Service) is running, but has no keyring yet"],
      ["empty", "cancel", false, "the keyring (Secret Service) is running, but has no keyring yet"],
      ["locked", "ignore", true, `${LOCKED}, and nobody answered its prompt`],
    ] as const,
  )(
    "puts it into a file when the keyring is %s and the person would %s (mayPrompt: %p)",
    async (state, answer, mayPrompt, why) => {
      const prompter = await addKeyring(state, [answer]);
      const { clock, moveOn } = standingClock();
      const opening = open({ mayPrompt, clock });
      if (answer === "ignore") {
        await prompter.next("shown");
        moveOn(PROMPT_MS);
      }
      expect(await opening).toMatchObject({ place: "file", why });
      expect(await prompter.hasAnswersLeft()).toBe(!mayPrompt);
      const first = state === "empty" ? "make a default keyring" : "unlock the keyring";
      expect(lines.slice(mayPrompt ? 1 : 0)).toEqual([
        `warn The key of the token cache goes into ${folder}/key.json: ${why}. To move it into the keyring ` +
        `(Secret Service): ${first}, move ${folder} away, and sign in again`,
      ]);
    },
  );

  test("says that the key goes into a file before it does", async () => {
    await addKeyring("locked", ["cancel"]);
    let isThere: boolean | undefined;
    const look: EncryptionKeyOptions["log"] = (_, message) => {
      if (message.includes("goes into")) isThere = existsSync(join(folder, "key.json"));
    };
    await open({ log: look });
    expect(isThere).toBe(false);
    expect(await readdir(folder)).toEqual(["key.json"]);
  });

  test("moves the key into the keyring as the warning says: the folder moved away, the keyring unlocked", async () => {
    await addKeyring("locked", ["cancel", "password:password"]);
    expect((await open()).place).toBe("file");
    await rename(folder, `${folder}-old`);
    expect((await open()).place).toBe("secret-service");
  });

  test("says what it waits for while another program makes the key", async () => {
    const { promise: warned, resolve } = Promise.withResolvers<string>();
    await mkdir(folder, { mode: 0o700 });
    let opening: Promise<unknown> | undefined;
    await withLock(join(folder, "key.lockfile"), async () => {
      const { clock } = fastClock();
      opening = open({ keyLocation: "file", clock, log: (level, message) => resolve(`${level} ${message}`) });
      expect(await warned).toBe(
        "warn Another program is making the key of the token cache, and may be waiting for somebody to unlock the keyring",
      );
    });
    expect(await opening).toMatchObject({ place: "file" });
  });

  // The one that went on after a stop replaced key.json without a look: what was encrypted with the key there became unreadable.
  test("keeps the key that another process made while this one was stopped at the prompt", async () => {
    const prompter = await addKeyring("locked", ["ignore"]);
    const [program, ...args] = ownRuntimePath().program(), script = new URL("key_program.ts", import.meta.url);
    const stopped = spawn(program!, [...args, fileURLToPath(script), folder], { stdio: ["ignore", "pipe", "inherit"] });
    const printed = readText(stopped.stdout);
    try {
      await prompter.next("shown");
      process.kill(stopped.pid!, "SIGSTOP"); // Ctrl-Z
      const { clock, elapsedMs } = fastClock();
      const key = await open({ keyLocation: "file", clock }); // takes the lock over from a process that stands still
      expect(elapsedMs()).toBeGreaterThanOrEqual(60_000);
      const written = await readFile(join(folder, "key.json"), "utf8");
      await prompter.kill(); // the prompt is gone, and the key would go into a file
      process.kill(stopped.pid!, "SIGCONT"); // fg
      expect(JSON.parse(await printed)).toMatchObject({ id: key.id, place: "file" });
      expect(await readFile(join(folder, "key.json"), "utf8")).toBe(written);
      expect(await readdir(folder)).toEqual(["key.json"]);
    } finally {
      stopped.kill("SIGKILL");
    }
  });

  test("sets nothing aside that another process has mended while this one was stopped at the prompt", async () => {
    const prompter = await addKeyring("locked", ["ignore"]);
    await writeRecord("{}");
    const opening = open();
    await prompter.next("shown");
    await rm(join(folder, "key.lockfile")); // as one that takes it over, and makes a key
    const another = join(daemon.directory, "another"), key = await openEncryptionKey(another, { keyLocation: "file" });
    await copyFile(join(another, "key.json"), join(folder, "key.json"));
    await prompter.kill();
    expect(await opening).toMatchObject({ id: key.id });
    expect(await readdir(folder)).toEqual(["key.json"]);
  });

  test("asks nobody where nobody shows prompts", async () => {
    await addPrivateKeyring(daemon, "locked");
    expect(await open()).toMatchObject({ place: "file", why: DISMISSED });
  });

  test("makes a new key when the keyring lost it, and sets aside what was written of the old one", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    const key = await open(), before = await readFile(join(folder, "key.json"), "utf8");
    await writeFile(join(folder, "key.json"), before.replace(key.id, crypto.randomUUID()));
    lines.length = 0;
    const next = await open();
    expect(next.place).toBe("secret-service");
    expect(next.bytes).not.toEqual(key.bytes);
    expect(lines.filter((line) => line.startsWith("warn"))).toEqual([
      expect.stringMatching(
        /^warn .*is lost: the keyring \(Secret Service\) does not have it; key\.json was set aside as .* have to sign in again$/,
      ),
    ]);
    const [, place = ""] = /set aside as (\S+)\./.exec(lines.join("\n")) ?? [];
    expect(JSON.parse(await readFile(place, "utf8")).collection).toBe(COLLECTION);
  });

  test("leaves what was written as it is when no new key can be kept", async () => {
    await addKeyring("locked");
    await writeRecord("{}");
    expect(await failure(open({ keyLocation: "keyring", mayPrompt: false }))).toMatchObject({
      code: "configuration",
    });
    expect(await record()).toEqual({});
    expect(await readdir(folder)).toEqual(["key.json"]);
  });

  test.each(["", "{", "[]", '{"place":"file","id":"x","key":"y"}', "\xff", "null"])(
    "makes a new key when what was written of it is damaged: %p",
    async (text) => {
      await writeRecord(text);
      const key = await open({ keyLocation: "file" });
      expect((await find())?.bytes).toEqual(key.bytes);
      const [, place = ""] = /key.json is damaged; key\.json was set aside as (\S+)\./.exec(lines.join("\n")) ?? [];
      expect(await readFile(place, "utf8")).toBe(text);
      expect(lines.length).toBe(1);
    },
  );

  test("takes no key from a place that it does not know, or that is another system's", async () => {
    const id = crypto.randomUUID();
    for (const [place, says] of [["moon", "unknown place"], ["keychain", "is in the macOS Keychain"]]) {
      await writeRecord({ id, place, why: "" });
      expect(await failure(open())).toMatchObject({ code: "configuration", message: expect.stringContaining(says!) });
    }
  });

  test.each([0o666, 0o620, 0o644, 0o640])("refuses a file that others can read or write (%o)", async (mode) => {
    await open({ keyLocation: "file" });
    await chmod(join(folder, "key.json"), mode);
    expect(await failure(open())).toMatchObject({ code: "configuration", hint: expect.stringContaining("chmod") });
  });

  test("gives back the key that was had before, while it is the one, without asking the keyring", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    const known = await open();
    process.env.DBUS_SESSION_BUS_ADDRESS = "unix:path=/nonexistent";
    expect(await open({ known })).toBe(known);
    expect(await failure(open({ known: { ...known, id: crypto.randomUUID() } }))).toMatchObject({
      code: "configuration",
    });
  });
});

describe("findEncryptionKey()", () => {
  useBus();

  test("makes nothing, and does not start the keyring, when there is no key", async () => {
    await daemon.addService("org.freedesktop.secrets", ["/usr/bin/touch", join(daemon.directory, "started")]);
    expect(await find()).toBeUndefined();
    expect(await readdir(daemon.directory)).not.toContain("cache");
    expect(await readdir(daemon.directory)).not.toContain("started");
  });

  test("asks the person to unlock the keyring that the key is in", async () => {
    const { key, prompter } = await addLockedKey(["password:password"]);
    expect((await find())?.bytes).toEqual(key.bytes);
    expect(await prompter.hasAnswersLeft()).toBe(false);
    expect((await find({ mayPrompt: false }))?.bytes).toEqual(key.bytes);
  });

  test.each(
    [
      ["cancel", true, "configuration", DISMISSED],
      ["cancel", false, "configuration", LOCKED],
      ["ignore", true, "timed_out", `${LOCKED}, and nobody answered its prompt`],
    ] as const,
  )("says what to do when the person would %s (mayPrompt: %p)", async (answer, mayPrompt, code, says) => {
    const { prompter } = await addLockedKey([answer]);
    const { clock, moveOn } = standingClock();
    const failing = failure(find({ mayPrompt, clock }));
    if (answer === "ignore") {
      await prompter.next("shown");
      moveOn(PROMPT_MS);
    }
    const error = await failing;
    expect(error).toMatchObject({ code, message: `Cannot read the token cache in ${folder}: ${says}` });
    expect(error.hint).toContain("seahorse");
    expect(error.hint).toContain(`move ${folder} away`);
    expect(await prompter.hasAnswersLeft()).toBe(!mayPrompt);
    expect(await readdir(folder)).toEqual(["key.json"]);
  });

  test("asks the person once for five programs at a time", async () => {
    const { key, prompter } = await addLockedKey(["password:password", "cancel"]);
    const found = await Promise.all(Array.from({ length: 5 }, () => find()));
    for (const one of found) expect(one?.bytes).toEqual(key.bytes);
    expect(await prompter.hasAnswersLeft()).toBe(true);
  });

  test("takes the prompt away when the call is aborted, and gives the reason", async () => {
    const { prompter } = await addLockedKey(["ignore"]), controller = new AbortController(), reason = { why: "enough" };
    lines.length = 0;
    const finding = find({ signal: controller.signal });
    await prompter.next("shown");
    expect(lines).toEqual([`warn ${UNLOCK}`]); // while its window stands
    controller.abort(reason);
    await expect(finding).rejects.toBe(reason);
    await prompter.next("gone");
  });

  test("ends when the keyring is killed while its prompt is shown", async () => {
    const { prompter } = await addLockedKey(["ignore"]);
    const { clock, moveOn } = standingClock();
    const finding = failure(find({ clock }));
    await prompter.next("shown");
    await killKeyring(daemon.address);
    moveOn(PROMPT_MS - 1); // the time for a look, not the end of the prompt
    expect(await finding).toMatchObject({
      code: "configuration",
      message: expect.stringContaining("the keyring (Secret Service) went away"),
    });
  });

  test("ends when the bus is killed while a prompt is shown", async () => {
    const { prompter } = await addLockedKey(["ignore"]);
    const { clock, moveOn } = standingClock();
    const finding = failure(find({ clock }));
    await prompter.next("shown");
    await daemon.restart();
    moveOn(PROMPT_MS - 1);
    expect(await finding).toMatchObject({ code: "configuration" });
  });

  test("says that the prompt could not be shown when the prompter dies", async () => {
    const { prompter } = await addLockedKey(["ignore"]), finding = failure(find());
    await prompter.next("shown");
    await prompter.kill();
    expect(await finding).toMatchObject({ message: expect.stringContaining(DISMISSED) });
  });

  test.each([
    ["no bus", useNoBus],
    ["not there", async () => {
      await daemon.addService("org.freedesktop.secrets", ["/bin/false"]);
      await killKeyring(daemon.address);
    }],
  ])("says what to do when the keyring is gone (%s)", async (says, begin) => {
    await addPrivateKeyring(daemon, "unlocked");
    await open();
    await begin();
    const error = await failure(find());
    expect(error).toMatchObject({ code: "configuration", message: expect.stringContaining(says) });
    expect(error.hint).toContain(`move ${folder} away and sign in again`);
    expect(await failure(open())).toMatchObject({ code: "configuration", message: error.message });
  });

  test("does not take a key for lost whose keyring is not there", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    await open();
    const written = await record(), elsewhere = { ...written, id: crypto.randomUUID(), collection: `${COLLECTION}2` };
    await writeRecord(elsewhere);
    expect(await failure(find())).toMatchObject({
      code: "configuration",
      message: expect.stringContaining("went away"),
    });
    expect(await record()).toEqual(elsewhere);
  });

  test("changes nothing when the key is lost or damaged, and says so", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    await open();
    const lost = JSON.stringify({ ...await record(), id: crypto.randomUUID() });
    lines.length = 0;
    for (
      const [text, why, hint] of [
        [
          lost,
          "the keyring (Secret Service) does not have it",
          "If another session's keyring has the key, work in that session; or to begin a new cache",
        ],
        [
          "{}",
          `${folder}/key.json is damaged`,
          "To begin a new cache and quarantine the old one, sign in again: acquireTokenInteractive",
        ],
      ] as const
    ) {
      await writeRecord(text);
      const error = await failure(find());
      expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining(hint) });
      expect(error.message).toBe(`The key of the token cache in ${folder} is lost: ${why}`);
      expect(await readFile(join(folder, "key.json"), "utf8")).toBe(text);
    }
    expect(await readdir(folder)).toEqual(["key.json"]);
    expect(lines).toEqual([]);
  });

  test("still gives a key in the session whose keyring has it, after another session looked for it", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    const key = await open(), another = await startPrivateBus();
    try {
      await addPrivateKeyring(another, "unlocked");
      process.env.DBUS_SESSION_BUS_ADDRESS = another.address;
      expect((await failure(find())).message).toContain("is lost");
    } finally {
      process.env.DBUS_SESSION_BUS_ADDRESS = daemon.address;
      await another.stop();
    }
    expect((await find())?.bytes).toEqual(key.bytes);
  });

  test("refuses what is no key under the key's name", async () => {
    const id = crypto.randomUUID();
    await addPrivateKeyring(daemon, "unlocked");
    await storeElsewhere(id, "bm8ga2V5");
    await writeRecord({ id, place: "secret-service", why: "", collection: COLLECTION });
    const error = await failure(find());
    expect(error).toMatchObject({ code: "invalid_response", hint: expect.stringContaining("Remove that item") });
    expectNoSecret(error, "bm8ga2V5");
  });
});

/** Stores what is no key where a key is looked for. */
async function storeElsewhere(id: string, text: string): Promise<void> {
  const { openSessionBus } = await import("../../../lib/dbus/open.ts");
  const { storeSecret } = await import("../../../lib/keyring/secret_service.ts");
  const attributes = { "xdg:schema": "org.latchkey.StoreKey", application: "latchkey", key: id };
  using bus = await openSessionBus();
  await storeSecret(bus, { label: "test", attributes, text }, { mayPrompt: false });
}

describe("describeEncryptionKey()", () => {
  useBus();

  test.each(
    [
      ["unlocked", "secret-service", undefined],
      ["locked", "secret-service", LOCKED],
      ["empty", "secret-service", "is running, but has no keyring yet"],
      [undefined, "file", undefined],
    ] as const,
  )(
    "tells where a key would be when the keyring is %s, asks nobody and makes nothing",
    async (state, place, problem) => {
      const prompter = state && await addKeyring(state, ["password:password"]);
      const description = await describeKey();
      expect(description).toMatchObject({ place, isMade: false });
      if (problem) expect(description.problem?.message).toContain(problem);
      else expect(description.problem).toBeUndefined();
      expect(await prompter?.hasAnswersLeft() ?? true).toBe(true);
      expect(await readdir(daemon.directory)).not.toContain("cache");
      expect(lines).toEqual([]);
    },
  );

  test.each(
    [
      ["locked", "prompts to unlock it"],
      ["empty", "prompts to make one"],
    ] as const,
  )("says what becomes of a new key when the keyring is %s, and names no option to keep it", async (state, says) => {
    await addKeyring(state);
    const { problem } = await describeKey();
    expect(problem?.message).toContain(`${says}; otherwise the key goes into`);
    expect(problem?.message).toContain(`${folder}/key.json`);
    expect(problem?.hint).toMatch(/seahorse .*, before you sign in$/);
    expect((await describeKey({ keyLocation: "keyring" })).problem?.message).toContain("Cannot keep the key");
    expect((await open({ mayPrompt: false })).place).toBe("file");
  });

  test("tells of a file that is asked for, and of a keyring that is, and cannot be used", async () => {
    expect(await describeKey({ keyLocation: "file" })).toEqual({
      place: "file",
      isMade: false,
      why: "a file was asked for",
    });
    expect((await describeKey({ keyLocation: "keyring" })).problem?.message).toContain("is not there");
  });

  test("tells where a key is, and what stands in its way", async () => {
    const { prompter } = await addLockedKey(["password:password"]);
    const made = { place: "secret-service", isMade: true };
    expect(await describeKey()).toMatchObject({ ...made, problem: { message: expect.stringContaining(LOCKED) } });
    expect(await prompter.hasAnswersLeft()).toBe(true);
    await find();
    expect(await describeKey()).toMatchObject({ ...made, problem: undefined });
    await writeRecord({ ...await record(), id: crypto.randomUUID() });
    expect((await describeKey()).problem?.message).toContain("is lost");
    await writeRecord("{");
    expect(await describeKey()).toMatchObject({ place: "file", isMade: true });
    expect((await describeKey()).problem?.message).toContain("is lost");
    expect(await readdir(folder)).toEqual(["key.json"]);
  });
});

describe("a key", () => {
  useBus();

  test("is in no log line, no inspection and no JSON", async () => {
    await addPrivateKeyring(daemon, "unlocked");
    const keys = [await open(), await openEncryptionKey(join(daemon.directory, "file"), { log, keyLocation: "file" })];
    await lockKeyring(daemon.address);
    const error = await failure(find({ mayPrompt: false }));
    for (const key of keys) {
      const secrets = [
        base64(key.bytes),
        Buffer.from(key.bytes).toString("hex"),
        String(key.bytes),
        inspect(key.bytes),
      ];
      const shown = [...lines, inspect(key, { depth: 9, showHidden: true }), JSON.stringify(key), String(key)].join(
        "\n",
      );
      for (const secret of secrets) expect(shown).not.toContain(secret);
      expectNoSecret(error, ...secrets);
    }
  });
});

const ID = "0b6e6f5e-5c1a-4a52-9d3e-0f1de8a3c111", WHY = "it is there and can be used";
const KEY = encodeBase64(new Uint8Array(32).fill(7));
const RECORDS: readonly KeyRecord[] = [
  { id: ID, why: WHY, place: "secret-service", collection: "/org/freedesktop/secrets/collection/login" },
  { id: ID, why: WHY, place: "keychain" },
  { id: ID, why: WHY, place: "dpapi", protected: "AQAAANCMnd8BFdERjHoAwE/Cl+s=" },
  { id: ID, why: WHY, place: "file", key: KEY },
];
const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

describe("writeKeyRecord(), readKeyRecord()", () => {
  test.each(RECORDS.map((record) => [record.place, record] as const))(
    "keep what is known of a key: %s",
    (_, record) => {
      expect(readKeyRecord(writeKeyRecord(record))).toEqual(record);
    },
  );
});

describe("readKeyRecord()", () => {
  test("takes what others put beside it for nothing", () => {
    expect(readKeyRecord(bytes({ ...RECORDS[1], more: [1, 2] }))).toEqual(RECORDS[1]!);
  });

  test("knows a place of a later version from damage", () => {
    expect(readKeyRecord(bytes({ id: ID, why: WHY, place: "tpm" }))).toBe("unknown_place");
  });

  test("lets no control character through to people", () => {
    expect(readKeyRecord(bytes({ ...RECORDS[1], why: "a\u001b[31m\nb" }))).toMatchObject({ why: "a [31m b" });
    expect(readKeyRecord(bytes({ ...RECORDS[1], why: 7 }))).toMatchObject({ why: "" });
  });

  test.each([
    ["no id", { ...RECORDS[1], id: undefined }],
    ["an id that is none", { ...RECORDS[1], id: "../x" }],
    ["no place", { ...RECORDS[1], place: undefined }],
    ["a place that is a number", { ...RECORDS[1], place: 1 }],
    ["no keyring", { ...RECORDS[0], collection: undefined }],
    ["a keyring that is no path", { ...RECORDS[0], collection: "login" }],
    ["a keyring that is the root", { ...RECORDS[0], collection: "/" }],
    ["nothing protected", { ...RECORDS[2], protected: "" }],
    ["what is protected and no base64", { ...RECORDS[2], protected: "'); Remove-Item" }],
    ["no key", { ...RECORDS[3], key: undefined }],
    ["a short key", { ...RECORDS[3], key: encodeBase64(new Uint8Array(31)) }],
    ["a long key", { ...RECORDS[3], key: encodeBase64(new Uint8Array(33)) }],
    ["a key that is no base64", { ...RECORDS[3], key: "?".repeat(44) }],
    ["a list", [RECORDS[1]]],
    ["a text", "x"],
  ])("takes it for damaged: %s", (_, value) => {
    expect(readKeyRecord(bytes(value))).toBeUndefined();
  });

  test("takes what is not UTF-8 for damaged, and an id in capitals for the same id", () => {
    const text = new TextDecoder().decode(writeKeyRecord({ ...RECORDS[1]!, why: "\u00ff" }));
    expect(readKeyRecord(Uint8Array.from(text, (character) => character.charCodeAt(0)))).toBeUndefined();
    expect(readKeyRecord(bytes({ ...RECORDS[1], id: ID.toUpperCase() }))).toEqual(RECORDS[1]!);
  });

  test("takes any cut of it for damaged", () => {
    for (const record of RECORDS) {
      const whole = writeKeyRecord(record);
      for (let end = 0; end < whole.length - 2; end++) expect(readKeyRecord(whole.subarray(0, end))).toBeUndefined();
    }
  });

  test("takes any bytes", () => {
    for (let round = 0; round < 500; round++) {
      expect(readKeyRecord(crypto.getRandomValues(new Uint8Array(round)))).toBeUndefined();
    }
    expect(readKeyRecord(new TextEncoder().encode("[".repeat(100_000)))).toBeUndefined();
  });
});

describe("readKey()", () => {
  test("are each other's reverse", () => {
    for (let round = 0; round < 100; round++) {
      const key = crypto.getRandomValues(new Uint8Array(32));
      expect(readKey(encodeBase64(key))).toEqual(key);
    }
  });
});

// The key of the token cache on Deno, with no more permissions than it takes, and with fewer.

/** Runs a program that opens the key, and may use the folder. */
async function openKey(...permissions: readonly string[]) {
  const [deno, ...args] = denoRun(), program = fileURLToPath(new URL("key_program.ts", import.meta.url));
  const files = [`--allow-read=${folder}`, `--allow-write=${folder}`, "--allow-sys=uid"];
  const { stdout } = await promisify(execFile)(deno!, [...args, ...files, ...permissions, program, folder], {
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: daemon.address },
  });
  return JSON.parse(stdout);
}

describe("openEncryptionKey() on Deno", () => {
  useBus();
  beforeEach(() => addPrivateKeyring(daemon, "unlocked"));

  test("needs for the keyring what a broker needs", async () => {
    expect(await openKey(...LEAST_PERMISSIONS)).toMatchObject({ place: "secret-service" });
  });

  test.each(
    [
      ["the bus' address", [], "DBUS_SESSION_BUS_ADDRESS"],
      ["any way to the bus", ["--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR"], "Deno may not"],
    ] as const,
  )("puts the key into a file without %s, and says why", async (_, permissions, says) => {
    expect(await openKey(...permissions)).toMatchObject({ place: "file", why: expect.stringContaining(says) });
  });

  test("says which permission is missing for a key that is in the keyring", async () => {
    const { id } = await openKey(...LEAST_PERMISSIONS), failure = await openKey();
    expect(failure).toMatchObject({ code: "missing_dependency", hint: expect.stringContaining("--allow-ffi=") });
    expect(await openKey(...LEAST_PERMISSIONS)).toMatchObject({ id });
  });
});
