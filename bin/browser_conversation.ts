/**
 * What the browser extension linux-entra-sso and its native host say to each other, over any two streams.
 *
 * @module
 */
import { ArgumentError, type BrokerAnswer, type BrokerChannel, LatchkeyError } from "../mod.ts";
import { type BrowserMessage, mistaken, readBrowserMessage } from "./browser_request.ts";
import { frameOf, type IncomingMessage, readMessages } from "./native_messages.ts";
import { visible } from "./visible.ts";

/** The longest message that is read, in bytes: a request is an account and an address. */
const MAX_REQUEST = 1024 * 1024;
/** How many requests may be under way, those counted in whose answers the browser has yet to read. More are read when some are done. */
const MAX_UNDER_WAY = 64;

/** What the conversation is had with. */
export interface BrowserConversationOptions {
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
      this.#options.complain(`${visible(message.command ?? "a message")}: ${text}`);
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
  if (!(error instanceof Error)) return visible(String(error));
  const hint = error instanceof LatchkeyError ? error.hint : undefined;
  return visible(hint ? `${error.message}. ${hint}` : error.message);
}
