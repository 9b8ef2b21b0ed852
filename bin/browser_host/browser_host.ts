/**
 * The messages by which browsers speak to a program that they start: the length as four bytes in the machine's order, then JSON
 * in UTF-8.
 *
 * @module
 */
import { isBrokenPipe, isTerminal, write } from "../../lib/runtime/program.ts";
import { standardInput, standardOutput } from "../../lib/runtime/stdio.ts";
import { openBrokerChannel } from "../../lib/broker/detect.ts";
import type { BrokerAnswer, BrokerChannel, BrokerQuestion } from "../../lib/broker/raw_channel.ts";
import { ArgumentError, LatchkeyError } from "../../lib/errors.ts";
import { clientIdOf, logger } from "../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../cli/command_line.ts";
import { BROWSER_CLIENT_ID, PROFILE, VERBOSE } from "../cli/options.ts";
import { escapeForTerminal, isObject } from "../cli/output.ts";

/** The command. */
export const command: Command = {
  name: "browser-host",
  summary: "Native messaging host of the browser extension linux-entra-sso, which signs browsers in",
  usage: "browser-host --install [--browser NAME...] [options]",
  operands: 2, // browsers pass the manifest or the extension that it is started for
  isService: true,
  options: [
    {
      name: "install",
      kind: "switch",
      environment: false,
      summary: "Register it with browsers: write their manifests",
    },
    { name: "uninstall", kind: "switch", environment: false, summary: "Remove the manifests" },
    {
      name: "browser",
      kind: "list",
      value: "NAME",
      environment: false,
      summary:
        "firefox, thunderbird, librewolf, chromium, chrome, edge, brave or vivaldi (those that have been started)",
    },
    {
      name: "extension-id",
      kind: "list",
      value: "ID",
      environment: false,
      summary: "Allow this extension, too, such as one that you built",
    },
    { name: "force", kind: "switch", environment: false, summary: "Replace another program's manifest" },
    BROWSER_CLIENT_ID,
    PROFILE,
    {
      name: "parent-window",
      kind: "text",
      value: "HANDLE",
      environment: false,
      summary: "Added by Chromium on Windows; no effect",
    },
    VERBOSE,
  ],
  examples: [
    ["latchkey browser-host --install", "for every browser that you have started"],
    ["latchkey browser-host --install --browser firefox --browser chromium", "for these"],
    ["latchkey browser-host --uninstall", "remove it from all browsers"],
  ],
  run: serveBrowser,
};

/** The longest message that a browser takes, in bytes: Chromium and Firefox end a program that sends more. */
export const MAX_MESSAGE = 1024 * 1024;

const LENGTH_BYTES = 4;

/** A message that came in: its bytes, the number of them where there were too many to read, or the end in the middle of one. */
export type IncomingMessage =
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  | { readonly kind: "too long"; readonly length: number }
  | { readonly kind: "cut off" };

/**
 * Messages, as they come. One that is too long is passed over, and none of it kept.
 *
 * @param input The bytes, cut anywhere.
 * @param limit The longest message that is read, in bytes.
 */
export async function* readMessages(
  input: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<IncomingMessage, void> {
  const length = new Uint8Array(LENGTH_BYTES);
  let part: Uint8Array = length, filled = 0, passedOver = 0;
  for await (let bytes of input) {
    while (bytes.length > 0) {
      const taken = Math.min(bytes.length, passedOver || part.length - filled);
      if (passedOver > 0) passedOver -= taken;
      else {
        part.set(bytes.subarray(0, taken), filled);
        filled += taken;
      }
      bytes = bytes.subarray(taken);
      if (passedOver > 0 || filled < part.length) continue;
      const whole = part;
      part = length;
      filled = 0;
      if (whole !== length) yield { kind: "message", bytes: whole };
      else {
        const size = new Uint32Array(length.buffer)[0]!;
        if (size > limit) {
          passedOver = size;
          yield { kind: "too long", length: size };
        } else if (size === 0) yield { kind: "message", bytes: new Uint8Array() };
        else part = new Uint8Array(size);
      }
    }
  }
  if (filled > 0 || part !== length || passedOver > 0) yield { kind: "cut off" };
}

/** A message as it is sent; `undefined` when it is longer than browsers take. */
export function frameOf(message: unknown): Uint8Array | undefined {
  const json = new TextEncoder().encode(JSON.stringify(message));
  if (json.length > MAX_MESSAGE) return undefined;
  const frame = new Uint8Array(LENGTH_BYTES + json.length);
  frame.set(new Uint8Array(new Uint32Array([json.length]).buffer));
  frame.set(json, LENGTH_BYTES);
  return frame;
}

/** What is asked where the extension does not say it. */
const DEFAULT_SCOPES = ["https://graph.microsoft.com/.default"], DEFAULT_URL = "https://login.microsoftonline.com/";

/** What the commands ask the broker. */
const QUESTIONS: Readonly<Record<BrowserCommand, (message: BrokerAnswer) => BrokerQuestion>> = {
  getAccounts: () => ({ method: "getAccounts" }),
  acquireTokenSilently: (message) => ({
    method: "acquireTokenSilently",
    account: accountIn(message),
    scopes: scopesIn(message),
  }),
  acquirePrtSsoCookie: (message) => ({
    method: "acquirePrtSsoCookie",
    account: accountIn(message),
    url: urlIn(message),
  }),
  getVersion: () => ({ method: "getLinuxBrokerVersion" }),
};

/** A command that the extension knows. */
type BrowserCommand = "getAccounts" | "acquireTokenSilently" | "acquirePrtSsoCookie" | "getVersion";

/** A message of the extension's. */
interface BrowserMessage {
  /** The command that it names; `null` when it names none. */
  readonly command: string | null;
  /**
   * What it asks the broker.
   *
   * @throws {TypeError} when that cannot be meant.
   */
  question(): BrokerQuestion;
}

/** The longest name of a command that is repeated in an answer, in characters. */
const MAX_NAME = 100;

/** Reads a message; what is wrong with it is thrown by its question. */
function readBrowserMessage(bytes: Uint8Array): BrowserMessage {
  let message: unknown;
  try {
    message = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return mistaken(null, "The message is not JSON"); // no more: a parser's text quotes what it read
  }
  if (!isObject(message)) return mistaken(null, "The message is not a JSON object");
  const { command } = message;
  if (typeof command !== "string") return mistaken(null, "The message has no command");
  if (isBrowserCommand(command)) return { command, question: () => QUESTIONS[command](message) };
  return mistaken(command.slice(0, MAX_NAME), "There is no such command");
}

/** The same, of a message that was not read. */
function mistaken(command: string | null, why: string): BrowserMessage {
  return {
    command,
    question: () => {
      throw new ArgumentError(why);
    },
  };
}

function isBrowserCommand(command: string): command is BrowserCommand {
  return Object.hasOwn(QUESTIONS, command);
}

function accountIn({ account }: BrokerAnswer): BrokerAnswer {
  if (isObject(account)) return account;
  throw new ArgumentError("account has to be an account as getAccounts gave it");
}

function scopesIn({ scopes }: BrokerAnswer): readonly string[] {
  if (scopes === undefined || scopes === null) return DEFAULT_SCOPES;
  if (!Array.isArray(scopes) || scopes.some((scope) => typeof scope !== "string")) {
    throw new ArgumentError("scopes has to be a list of scopes");
  }
  return scopes.length === 0 ? DEFAULT_SCOPES : scopes;
}

function urlIn({ ssoUrl }: BrokerAnswer): string {
  if (ssoUrl === undefined || ssoUrl === null || ssoUrl === "") return DEFAULT_URL;
  if (typeof ssoUrl === "string") return ssoUrl;
  throw new ArgumentError("ssoUrl has to be an address");
}

/** The longest message that is read, in bytes: a request is an account and an address. */
const MAX_REQUEST = 1024 * 1024;
/** How many requests may be under way, those counted in whose answers the browser has yet to read. More are read when some are done. */
const MAX_UNDER_WAY = 64;

/** What the conversation is had with. */
interface BrowserConversationOptions {
  /** The broker. */
  readonly channel: BrokerChannel;
  /** Version of latchkey. */
  readonly version: string;
  /** Sends bytes to the browser, in the order in which they are given. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Takes a line for the browser's log. */
  readonly complain: (line: string) => void;
}

/** The conversation of a browser that was begun. */
export class BrowserConversation {
  readonly #options: BrowserConversationOptions;
  /**
   * By command, the sending of its last answer. An answer names its command and nothing else of its request, so that of one
   * command the answers have to go in the order of the requests.
   */
  readonly #last = new Map<string | null, Promise<void>>();
  readonly #underWay = new Set<Promise<void>>();
  /** Fails when the conversation cannot go on: the browser is gone. */
  readonly #gone = Promise.withResolvers<never>();
  #watching: Promise<void> | undefined;
  /** How often the broker was seen to come or go. */
  #changes = 0;
  #isOnline: boolean | undefined;
  #told: boolean | undefined;
  #telling: Promise<void> | undefined;

  constructor(options: BrowserConversationOptions) {
    this.#options = options;
    this.#gone.promise.catch(() => {}); // whoever waits is told
  }

  /**
   * Tells the browser whether there is a broker, and answers its messages to the end of them.
   *
   * @param input The browser's bytes.
   * @param lingerMs How long requests that are under way at the end are waited for, in milliseconds.
   * @returns Whether the end came between two messages.
   * @throws {Error} one that `isBrokenPipe` knows when the browser does not read any more.
   */
  async run(input: AsyncIterable<Uint8Array>, lingerMs: number): Promise<boolean> {
    void this.#watch();
    return await Promise.race([this.#gone.promise, this.#answerAll(input, lingerMs)]);
  }

  async #answerAll(input: AsyncIterable<Uint8Array>, lingerMs: number): Promise<boolean> {
    let isWhole = true;
    for await (const incoming of readMessages(input, MAX_REQUEST)) {
      if (incoming.kind === "cut off") isWhole = false;
      else this.#answer(messageOf(incoming));
      if (this.#underWay.size >= MAX_UNDER_WAY) await Promise.race(this.#underWay);
    }
    const { promise: late, resolve } = Promise.withResolvers<void>(), timer = setTimeout(resolve, lingerMs);
    await Promise.race([Promise.all([...this.#underWay, this.#watching, this.#telling]), late]);
    clearTimeout(timer);
    return isWhole;
  }

  #answer(message: BrowserMessage): void {
    const { command } = message, before = this.#last.get(command), reply = this.#replyTo(message);
    const sent = (async () => {
      try {
        const [answer] = await Promise.all([reply, before]);
        const frame = frameOf({ command, message: answer }) ??
          frameOf({ command, message: { error: "The broker's answer is longer than a browser takes" } })!;
        await this.#options.write(frame);
      } catch (error) {
        this.#gone.reject(error);
      }
    })();
    this.#last.set(command, sent);
    this.#underWay.add(sent);
    void sent.then(() => {
      this.#underWay.delete(sent);
      if (this.#last.get(command) === sent) this.#last.delete(command);
    });
  }

  /** The broker's answer, or why there is none. */
  async #replyTo(message: BrowserMessage): Promise<BrokerAnswer> {
    try {
      await this.#watch(); // the browser is told of the broker first, whatever it asks
      const question = message.question();
      const { channel, version } = this.#options;
      if (question.method !== "getLinuxBrokerVersion") return await this.#seen(() => channel.ask(question));
      const answer = await this.#seen(() => channel.ask(question)).catch((error) => {
        if (error instanceof LatchkeyError && error.code === "refused") return {}; // not every broker tells
        throw error;
      });
      return { ...answer, native: version };
    } catch (error) {
      if (!(error instanceof LatchkeyError || error instanceof ArgumentError)) throw error; // a mistake of ours
      const text = textOf(error);
      this.#options.complain(`${escapeForTerminal(message.command ?? "a message")}: ${text}`);
      return { error: text, ...(message.command === "getVersion" && { native: this.#options.version }) };
    }
  }

  /** Who answers is there, unless it was seen to come or go meanwhile. */
  async #seen<T>(call: () => Promise<T>): Promise<T> {
    const before = this.#changes, answer = await call();
    if (this.#changes === before) this.#tell(true);
    return answer;
  }

  /** Looks once whether there is a broker, and from then on sees it come and go; again where there was no bus to see it on. */
  #watch(): Promise<void> {
    return this.#watching ??= (async () => {
      const { channel, complain } = this.#options, before = this.#changes;
      try {
        await channel.onChange(({ running }) => {
          this.#changes++;
          this.#tell(running);
        });
        await this.#seen(() => channel.start()).catch((error) => {
          if (this.#changes === before) this.#tell(false);
          complain(textOf(error));
        });
      } catch (error) {
        this.#watching = undefined;
        this.#tell(false);
        complain(textOf(error));
      }
    })();
  }

  /** Tells the browser of the broker, unless it knows; of a broker that comes and goes while nobody reads, what is so last. */
  #tell(isOnline: boolean): void {
    this.#isOnline = isOnline;
    if (this.#told === isOnline) return;
    this.#telling ??= this.#tellAll().catch((error) => this.#gone.reject(error));
  }

  async #tellAll(): Promise<void> {
    while (this.#told !== this.#isOnline) {
      this.#told = this.#isOnline;
      const frame = frameOf({ command: "brokerStateChanged", message: this.#told ? "online" : "offline" })!;
      await this.#options.write(frame);
    }
    this.#telling = undefined;
  }
}

function messageOf(incoming: Exclude<IncomingMessage, { readonly kind: "cut off" }>): BrowserMessage {
  return incoming.kind === "message"
    ? readBrowserMessage(incoming.bytes)
    : mistaken(null, `The message is too long: ${incoming.length} bytes`);
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return escapeForTerminal(String(error));
  const hint = error instanceof LatchkeyError ? error.hint : undefined;
  return escapeForTerminal(hint ? `${error.message}. ${hint}` : error.message);
}

/** How long the broker may take for what it was asked when the browser ended, in milliseconds: it does not wait for long. */
const LINGER_MS = 5_000;
/** What ended in the middle of a message was not done. */
const EXIT_CUT_OFF = 1;

/** Speaks to a browser, or tells browsers of itself. */
async function serveBrowser(line: CommandLine): Promise<number | void> {
  const isInstall = line.isOn("install"), isUninstall = line.isOn("uninstall");
  if (isInstall && isUninstall) throw new UsageError("Give --install or --uninstall, not both");
  if ((isInstall || isUninstall) && line.operands.length > 0) {
    throw new UsageError(`${JSON.stringify(line.operands[0])} is not an option; a browser is named by --browser`);
  }
  if (isInstall) return await (await import("./install.ts")).installHost(line);
  if (isUninstall) return await (await import("./install.ts")).uninstallHost(line);
  for (const option of ["browser", "extension-id", "force"]) {
    if (line.origin(option)) throw new UsageError(`--${option} goes with --install or --uninstall`);
  }
  if (isTerminal("stdin")) {
    throw new UsageError("A browser starts this command, and speaks to it; --install tells the browsers of it");
  }
  return await speak(line);
}

async function speak(line: CommandLine): Promise<number | void> {
  using channel = await openBrokerChannel({ clientId: clientIdOf(line), logger: logger(line.count("verbose")) });
  const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
  const conversation = new BrowserConversation({
    channel,
    version,
    write: standardOutput(),
    complain: (text) => write("stderr", `latchkey: ${text}\n`),
  });
  try {
    if (await conversation.run(standardInput(), LINGER_MS)) return;
    write("stderr", "latchkey: the browser's last message was cut off\n");
    return EXIT_CUT_OFF;
  } catch (error) {
    if (!isBrokenPipe(error)) throw error; // the browser has ended
  }
}
