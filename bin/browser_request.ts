/**
 * What the browser extension linux-entra-sso asks its native host, in its own words. Pure.
 *
 * @module
 */
import { ArgumentError, type BrokerAnswer, type BrokerQuestion } from "../mod.ts";
import { isObject } from "./is_object.ts";

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
export type BrowserCommand = "getAccounts" | "acquireTokenSilently" | "acquirePrtSsoCookie" | "getVersion";

/** A message of the extension's. */
export interface BrowserMessage {
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
export function readBrowserMessage(bytes: Uint8Array): BrowserMessage {
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
export function mistaken(command: string | null, why: string): BrowserMessage {
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
