/**
 * `latchkey browser-host`: a native messaging host for the browser extension linux-entra-sso. A message is its length
 * as four bytes in native byte order, then JSON in UTF-8.
 *
 * @module
 */
import { isBrokenPipe, isTerminal, standardInput, standardOutput } from "../../../lib/runtime/terminal.ts";
import { shareCookiePause } from "../../../lib/broker/cookie_pause.ts";
import { openBrokerChannel } from "../../../lib/broker/detect.ts";
import type { BrokerChannel, BrokerQuestion } from "../../../lib/broker/raw_channel.ts";
import { withinTime } from "../../../lib/async.ts";
import { isObject, type JsonObject } from "../../../lib/encoding.ts";
import { ArgumentError, LatchkeyError } from "../../../lib/errors.ts";
import { clientIdOf, logger } from "../../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../../cli/command_line.ts";
import { BROWSER_CLIENT_ID, GRAPH_SCOPE, PROFILE, switchOption, textOption, VERBOSE } from "../../cli/options.ts";
import { messageOf } from "../../cli/failures.ts";
import { say } from "../../cli/output.ts";

const LIST = { kind: "list", environment: false } as const;

export const command: Command = {
  name: "browser-host",
  summary: "Native messaging host for the browser extension linux-entra-sso",
  usage: "browser-host --install [--browser NAME...] [options]",
  operands: 2, // browsers pass the manifest or the extension that it is started for
  isService: true,
  options: [
    { ...switchOption("install", "Register this host with browsers by their manifests"), environment: false },
    { ...switchOption("uninstall", "Remove the manifests"), environment: false },
    {
      ...LIST,
      name: "browser",
      value: "NAME",
      summary: "firefox, thunderbird, librewolf, chromium, chrome, edge, brave or vivaldi",
    },
    { ...LIST, name: "extension-id", value: "ID", summary: "Also allow this extension, such as one that you built" },
    { ...switchOption("force", "Replace another program's manifest"), environment: false },
    BROWSER_CLIENT_ID,
    PROFILE,
    { ...textOption("parent-window", "HANDLE", "Ignored; Chromium on Windows passes it"), environment: false },
    VERBOSE,
  ],
  examples: [
    ["latchkey browser-host --install", "Register the host with every browser that you have started"],
    ["latchkey browser-host --install --browser firefox --browser chromium", "Register the host with two browsers"],
    ["latchkey browser-host --uninstall", "Remove the host from all browsers"],
  ],
  run: serveBrowser,
};

/** Length in bytes of the longest message: Chromium and Firefox kill a host that sends more. Accounts and URLs need less. */
export const MAX_MESSAGE: number = 1024 * 1024;

const LENGTH_BYTES = 4;

export type IncomingMessage =
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  | { readonly kind: "too long"; readonly length: number }
  | { readonly kind: "cut off" };

/** Splits a stream of bytes into messages. Those with more bytes than the limit are skipped. */
export async function* readMessages(input: AsyncIterable<Uint8Array>, limit: number): AsyncGenerator<IncomingMessage> {
  const length = new Uint8Array(LENGTH_BYTES);
  let part: Uint8Array = length;
  let filled = 0;
  let toSkip = 0;
  for await (let bytes of input) {
    while (bytes.length > 0) {
      const taken = Math.min(bytes.length, toSkip || part.length - filled);
      if (toSkip > 0) toSkip -= taken;
      else {
        part.set(bytes.subarray(0, taken), filled);
        filled += taken;
      }
      bytes = bytes.subarray(taken);
      if (toSkip > 0 || filled < part.length) continue;
      const whole = part;
      const size = new Uint32Array(length.buffer)[0]!;
      part = length;
      filled = 0;
      if (whole !== length) yield { kind: "message", bytes: whole };
      else if (size > limit) {
        toSkip = size;
        yield { kind: "too long", length: size };
      } else if (size === 0) yield { kind: "message", bytes: new Uint8Array() };
      else part = new Uint8Array(size);
    }
  }
  if (filled > 0 || part !== length || toSkip > 0) yield { kind: "cut off" };
}

/** Encodes a message; returns `undefined` if it is too long for browsers. */
export function frameOf(message: unknown): Uint8Array | undefined {
  const json = new TextEncoder().encode(JSON.stringify(message));
  if (json.length > MAX_MESSAGE) return undefined;
  const frame = new Uint8Array(LENGTH_BYTES + json.length);
  frame.set(new Uint8Array(new Uint32Array([json.length]).buffer));
  frame.set(json, LENGTH_BYTES);
  return frame;
}

/** The extension's commands, as questions to the broker. They throw `ArgumentError` if the message is invalid. */
const QUESTIONS: Readonly<Record<string, (message: JsonObject) => BrokerQuestion>> = {
  getAccounts: () => ({ method: "getAccounts" }),
  acquireTokenSilently: (sent) => ({
    method: "acquireTokenSilently",
    account: accountIn(sent),
    scopes: scopesIn(sent),
  }),
  acquirePrtSsoCookie: (sent) => ({ method: "acquirePrtSsoCookie", account: accountIn(sent), url: urlIn(sent) }),
  getVersion: () => ({ method: "getLinuxBrokerVersion" }),
};

interface BrowserMessage {
  /** `null` if it has none. */
  readonly command: string | null;
  /** Throws `ArgumentError` if the message is invalid. */
  question(): BrokerQuestion;
}

/** Length in characters of the longest command that is repeated in an answer. */
const MAX_COMMAND_CHARACTERS = 100;

function readBrowserMessage(bytes: Uint8Array): BrowserMessage {
  let message: unknown;
  try {
    message = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return invalid(null, "The message is not JSON"); // the parser's error would quote it
  }
  if (!isObject(message)) return invalid(null, "The message is not a JSON object");
  const { command } = message;
  const object = message;
  if (typeof command !== "string") return invalid(null, "The message has no command");
  if (Object.hasOwn(QUESTIONS, command)) return { command, question: () => QUESTIONS[command]!(object) };
  return invalid(command.slice(0, MAX_COMMAND_CHARACTERS), "There is no such command");
}

function invalid(command: string | null, reason: string): BrowserMessage {
  return {
    command,
    question() {
      throw new ArgumentError(reason);
    },
  };
}

function accountIn({ account }: JsonObject): JsonObject {
  if (isObject(account)) return account;
  throw new ArgumentError("account must be an account that getAccounts returned");
}

function scopesIn({ scopes }: JsonObject): readonly string[] {
  const given = scopes ?? [];
  if (!Array.isArray(given) || given.some((scope) => typeof scope !== "string")) {
    throw new ArgumentError("scopes must be a list of scopes");
  }
  return given.length === 0 ? [GRAPH_SCOPE] : given;
}

function urlIn({ ssoUrl }: JsonObject): string {
  const url = ssoUrl ?? "";
  if (typeof url !== "string") throw new ArgumentError("ssoUrl must be a URL");
  return url || "https://login.microsoftonline.com/";
}

/** Limit of concurrent requests, including those whose answers the browser has yet to read. */
const MAX_PENDING = 64;

interface BrowserConnectionOptions {
  readonly channel: BrokerChannel;
  /** Version of latchkey. */
  readonly version: string;
  /** Sends bytes to the browser, in the order of the calls. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Writes a line to the browser's log. */
  readonly logError: (line: string) => void;
}

/** The connection of a browser to its host. */
export class BrowserConnection {
  readonly #options: BrowserConnectionOptions;
  /**
   * By command, the sending of its last answer. An answer only names the command, so the answers of one command must be
   * in the order of the requests.
   */
  readonly #last = new Map<string | null, Promise<void>>();
  readonly #pending = new Set<Promise<void>>();
  /** Rejects if the browser is gone. */
  readonly #gone = Promise.withResolvers<never>();
  #watching: Promise<void> | undefined;
  /** Counts how often the broker came or went. */
  #changes = 0;
  #isOnline: boolean | undefined;
  /** The state that the browser knows. */
  #sentState: boolean | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: BrowserConnectionOptions) {
    this.#options = options;
    this.#gone.promise.catch(() => {}); // run() reports it
  }

  /**
   * Reports the state of the broker, and answers messages until the input ends.
   *
   * @param lingerMs Time limit in milliseconds for requests that are pending at the end.
   * @returns True if the input ended between two messages.
   * @throws {Error} Satisfies `isBrokenPipe` if the browser stopped reading.
   */
  async run(input: AsyncIterable<Uint8Array>, lingerMs: number): Promise<boolean> {
    void this.#watch();
    return await Promise.race([this.#gone.promise, this.#answerAll(input, lingerMs)]);
  }

  async #answerAll(input: AsyncIterable<Uint8Array>, lingerMs: number): Promise<boolean> {
    let isWhole = true;
    for await (const incoming of readMessages(input, MAX_MESSAGE)) {
      if (incoming.kind === "cut off") isWhole = false;
      else if (incoming.kind === "message") this.#answer(readBrowserMessage(incoming.bytes));
      else this.#answer(invalid(null, `The message is too long: ${incoming.length} bytes`));
      if (this.#pending.size >= MAX_PENDING) await Promise.race(this.#pending);
    }
    await withinTime(this.#allSent(), lingerMs);
    return isWhole;
  }

  /** The watch reports its failure to the browser, so it ends before the last message. */
  async #allSent(): Promise<void> {
    await this.#watching;
    await Promise.all([...this.#pending, this.#sending]);
  }

  #answer(message: BrowserMessage): void {
    const { command } = message;
    const before = this.#last.get(command);
    const reply = this.#replyTo(message);
    const sent = (async () => {
      try {
        const [answer] = await Promise.all([reply, before]);
        const frame = frameOf({ command, message: answer }) ??
          frameOf({ command, message: { error: "The broker's answer is too long for a browser" } })!;
        await this.#options.write(frame);
      } catch (error) {
        this.#gone.reject(error);
      }
    })();
    this.#last.set(command, sent);
    this.#pending.add(sent);
    void sent.then(() => {
      this.#pending.delete(sent);
      if (this.#last.get(command) === sent) this.#last.delete(command);
    });
  }

  /** Returns the broker's answer, or an object with the error. */
  async #replyTo(message: BrowserMessage): Promise<JsonObject> {
    const { channel, version, logError } = this.#options;
    const isVersion = message.command === "getVersion";
    const more = isVersion ? { native: version } : {};
    try {
      await this.#watch(); // the first message to the browser is the state of the broker
      const question = message.question();
      return { ...await this.#observed(() => channel.ask(question)), ...more };
    } catch (error) {
      // Some brokers cannot tell their version.
      if (isVersion && error instanceof LatchkeyError && error.code === "refused") return more;
      if (!(error instanceof LatchkeyError || error instanceof ArgumentError)) throw error; // a bug
      const text = textOf(error);
      logError(`${message.command ?? "a message"}: ${text}`);
      return { error: text, ...more };
    }
  }

  /** A broker that answers is online, unless it came or went meanwhile. */
  async #observed<T>(call: () => Promise<T>): Promise<T> {
    const before = this.#changes;
    const answer = await call();
    if (this.#changes === before) this.#report(true);
    return answer;
  }

  /** Starts the broker and watches it from then on. Tries again on the next call if there is no bus. */
  #watch(): Promise<void> {
    this.#watching ??= this.#startWatching();
    return this.#watching;
  }

  async #startWatching(): Promise<void> {
    const { channel, logError } = this.#options;
    const before = this.#changes;
    try {
      await channel.onChange(({ running }) => {
        this.#changes++;
        this.#report(running);
      });
      await this.#observed(() => channel.start()).catch((error) => {
        if (this.#changes === before) this.#report(false);
        logError(textOf(error));
      });
    } catch (error) {
      this.#watching = undefined;
      this.#report(false);
      logError(textOf(error));
    }
  }

  /** Sends the state of the broker if the browser does not know it. A slow browser gets only the last one. */
  #report(isOnline: boolean): void {
    this.#isOnline = isOnline;
    if (this.#sentState === isOnline) return;
    this.#sending ??= this.#sendStates().catch((error) => this.#gone.reject(error));
  }

  async #sendStates(): Promise<void> {
    while (this.#sentState !== this.#isOnline) {
      this.#sentState = this.#isOnline;
      const message = this.#sentState ? "online" : "offline";
      await this.#options.write(frameOf({ command: "brokerStateChanged", message })!);
    }
    this.#sending = undefined;
  }
}

function textOf(error: unknown): string {
  if (error instanceof LatchkeyError) return messageOf(error);
  return error instanceof Error ? error.message : String(error);
}

/** Time limit in milliseconds for pending requests once the browser closes its end. */
const LINGER_MS = 5_000;
/** Exit code if the last message was cut off. */
const EXIT_CUT_OFF = 1;

async function serveBrowser(line: CommandLine): Promise<number | void> {
  const isInstall = line.isOn("install");
  const isUninstall = line.isOn("uninstall");
  if (isInstall && isUninstall) throw new UsageError("Give --install or --uninstall, not both");
  if (isInstall || isUninstall) {
    if (line.operands.length > 0) {
      throw new UsageError(`${JSON.stringify(line.operands[0])} is not an option; a browser is named by --browser`);
    }
    const { installHost, uninstallHost } = await import("./install.ts");
    return await (isInstall ? installHost : uninstallHost)(line);
  }
  for (const option of ["browser", "extension-id", "force"]) {
    if (line.origin(option)) throw new UsageError(`--${option} goes with --install or --uninstall`);
  }
  if (isTerminal("stdin")) {
    throw new UsageError("Browsers start this command; use --install to install it for them");
  }
  shareCookiePause(); // browsers end the host after seconds
  const channel = await openBrokerChannel({ clientId: clientIdOf(line), logger: logger(line.count("verbose")) });
  try {
    const { default: { version } } = await import("../../../deno.json", { with: { type: "json" } });
    const connection = new BrowserConnection({ channel, version, write: standardOutput(), logError: say });
    if (await connection.run(standardInput(), LINGER_MS)) return;
    say("the browser's last message was cut off");
    return EXIT_CUT_OFF;
  } catch (error) {
    if (!isBrokenPipe(error)) throw error; // the browser has exited
  } finally {
    channel[Symbol.dispose]();
  }
}
