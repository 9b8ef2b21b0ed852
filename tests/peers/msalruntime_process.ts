// Microsoft's client library, doing what the process that started this one asks for (start_msalruntime.ts).
import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import process from "node:process";
import {
  CLIENT_ID,
  type PeerAccount,
  type PeerAnswer,
  type PeerMessage,
  type PeerRequest,
} from "./start_msalruntime.ts";

/** What we use of the library. Its own types are there only after it was installed. */
type Library = Readonly<Record<PeerRequest["method"], Method>> & {
  /** Why it cannot be loaded, or found no broker. */
  readonly StartupError?: NonNullable<PeerAnswer["error"]>;
  readonly AuthParameters: new () => AuthParameters;
};

type Method = (...args: readonly unknown[]) => Operation;
type Operation = { CancelAsyncOperation(): void };
type Result = PeerAnswer & { CheckError(): void };

interface AuthParameters {
  CreateAuthParameters(clientId: string, authority: string): void;
  SetRedirectUri(uri: string): void;
  SetRequestedScopes(scopes: string): void;
  SetDecodedClaims(claims: string): void;
  SetAccessTokenToRenew(token: string): void;
  SetPopParams(method: string, host: string, path: string, nonce: string): void;
  SetAdditionalParameter(name: string, value: string): void;
}

const REDIRECT_URI = "https://login.microsoftonline.com/common/oauth2/nativeclient";
/** No window. The addon makes window 1 of it where there is no display. */
const WINDOW = Buffer.alloc(8);

const library: Library =
  createRequire(new URL("msalruntime/", import.meta.url))("@azure/msal-node-runtime").msalNodeRuntime;
/** By user name, as the library made them: it takes no others. */
const accounts = new Map<string, PeerAccount>();
let last: Operation | undefined;

process.on("message", ({ id, ...request }: PeerMessage<PeerRequest>) => {
  if (request.method === "CancelAsyncOperation") {
    send(id, {});
    last?.CancelAsyncOperation();
  } else last = library[request.method](...argumentsOf(request), (result: Result) => send(id, read(result)));
});
send(0, library.StartupError ? { error: plain(library.StartupError) } : {});

function send(id: number, answer: PeerAnswer): void {
  process.send!({ id, ...answer } satisfies PeerMessage<PeerAnswer>);
}

function argumentsOf(request: PeerRequest): readonly unknown[] {
  const correlationId = crypto.randomUUID(), { accountHint = "" } = request;
  const account = request.account === undefined ? undefined : accounts.get(request.account);
  switch (request.method) {
    case "DiscoverAccountsAsync":
      return [CLIENT_ID, correlationId];
    case "SignOutSilentlyAsync":
      return [CLIENT_ID, correlationId, account];
    case "SignInSilentlyAsync":
      return [authParameters(request), correlationId];
    case "AcquireTokenSilentlyAsync":
      return [authParameters(request), correlationId, account];
    case "SignInAsync":
    case "SignInInteractivelyAsync":
      return [WINDOW, authParameters(request), correlationId, accountHint];
    case "AcquireTokenInteractivelyAsync":
      return [WINDOW, authParameters(request), correlationId, account];
    case "CancelAsyncOperation":
      return [];
  }
}

function authParameters(request: PeerRequest): AuthParameters {
  const { authority = "https://login.microsoftonline.com/common", scopes = "User.Read" } = request;
  const { claims, accessTokenToRenew, pop, parameters = {} } = request;
  const made = new library.AuthParameters();
  made.CreateAuthParameters(CLIENT_ID, authority);
  made.SetRedirectUri(REDIRECT_URI);
  made.SetRequestedScopes(scopes);
  if (claims !== undefined) made.SetDecodedClaims(claims);
  if (accessTokenToRenew !== undefined) made.SetAccessTokenToRenew(accessTokenToRenew);
  if (pop) made.SetPopParams(pop.method, pop.host, pop.path, pop.nonce);
  for (const [name, value] of Object.entries(parameters)) made.SetAdditionalParameter(name, value);
  return made;
}

function read(result: Result): PeerAnswer {
  try {
    result.CheckError();
  } catch (error) {
    return { error: plain(error as NonNullable<PeerAnswer["error"]>) };
  }
  for (const account of result.accounts ?? []) accounts.set(account.username, account);
  return plain(result);
}

/** The parts of the library's objects, which are getters of their classes, as data. */
function plain<T>(value: T): T {
  if (Array.isArray(value)) return value.map(plain) as T;
  if (typeof value !== "object" || value === null) return value;
  const names = new Set<string>();
  for (let at: object = value; at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  const parts = [...names].map((name) => [name, value[name as keyof T & string]] as const)
    .filter(([, part]) => typeof part !== "function" && part !== undefined && part !== null);
  return Object.fromEntries(parts.map(([name, part]) => [name, plain(part)])) as T;
}
