/** The broker's methods: a checked request in, a reply out. */
import type { Behaviour, Call } from "./behaviour.ts";
import { accountValues, type FakeDirectory, type Person } from "./fake_directory.ts";
import { cookieContent, type FakeTokens, signHttpRequest } from "./fake_tokens.ts";
import { isObject, type JsonObject, Refusal, WIRE_STATUS } from "./request_rules.ts";
import { fillWire } from "./wire.ts";

/** What lives as long as the process, and how it is to behave for this call. */
export interface BrokerState {
  readonly behaviour: Behaviour;
  readonly directory: FakeDirectory;
  readonly tokens: FakeTokens;
  readonly interactive: InteractiveCalls;
}

/** Interactive calls whose person has not answered yet. */
export class InteractiveCalls {
  readonly #cancels = new Map<string, () => void>();

  /** Waits for the person's answer, or for the call to be cancelled. */
  async wait<T>(correlationId: string, answer: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    this.#cancels.set(correlationId, () => reject(new Refusal(WIRE_STATUS.userCanceled, "The user cancelled")));
    try {
      return await Promise.race([answer, promise]);
    } finally {
      this.#cancels.delete(correlationId);
    }
  }

  /** Ends the call of that id. Microsoft's own client cancels under another id: then all of them are meant. */
  cancel(correlationId: string): void {
    const cancel = this.#cancels.get(correlationId);
    for (const each of cancel ? [cancel] : [...this.#cancels.values()]) each();
  }
}

/** Answers a method that `hasWire` knows. */
export function answerMethod({ member, correlationId }: Call, request: JsonObject, state: BrokerState): unknown {
  const { behaviour, directory, tokens, interactive } = state, { sender } = behaviour;
  switch (member) {
    case "getAccounts": {
      const accounts = directory.people(behaviour).map((person) => wireAccount(person, state));
      if (isHimmelblau(state) && accounts.length === 0) {
        throw new Refusal(WIRE_STATUS.unexpected, "Unable to find account");
      }
      return fillWire(sender, member, { accounts });
    }
    case "acquireTokenSilently": {
      const person = findPerson(request, state), parameters = request.authParameters as JsonObject;
      if (directory.isSignedOut(person)) throw new Refusal(WIRE_STATUS.accountUnusable, "The account is signed out");
      return fillToken(member, person, tokens.silent(person, parametersFor(parameters, state), behaviour), state);
    }
    case "acquireTokenInteractively": {
      const parameters = request.authParameters as JsonObject;
      const person = directory.signIn(behaviour, userOfSignIn(request, state));
      return fillToken(member, person, tokens.issue(person, parametersFor(parameters, state), behaviour), state);
    }
    case "acquirePrtSsoCookie": {
      const person = namedPerson(request.account, state), account = wireAccount(person, state);
      const values = { ...accountValues(person), account, cookieContent: cookieContent(person, request.ssoUrl) };
      return fillWire(sender, member, values);
    }
    case "generateSignedHttpRequest": {
      if (isHimmelblau(state)) return fillWire(sender, member); // it looks at nothing, and says that it cannot
      const pop = request.popParams as JsonObject;
      const person = lookUp({ homeAccountId: pop.homeAccountId }, state);
      const parameters = { clientId: request.clientId, requestedScopes: [], authority: "", decodedClaims: "" };
      const { accessToken } = tokens.issue(person, parameters, behaviour);
      return fillWire(sender, member, { signedHttpRequest: signHttpRequest(accessToken, pop) });
    }
    case "removeAccount":
      if (!isHimmelblau(state)) directory.remove(namedPerson(request.account, state));
      return fillWire(sender, member);
    case "cancelInteractiveFlow":
      if (!isHimmelblau(state)) interactive.cancel(correlationId!);
      return fillWire(sender, member);
    case "signOutSilently":
      directory.signOut(findPerson(request, state));
      return fillWire(sender, member);
    default:
      return fillWire(sender, member);
  }
}

/** Whose token a silent request asks for. */
function findPerson(request: JsonObject, state: BrokerState): Person {
  const parameters = isObject(request.authParameters) ? request.authParameters : {};
  if (isHimmelblau(state)) return namedPerson(himmelblauAccount(request, state), state);
  const account = parameters.account ?? request.account ?? null;
  if (account !== null) return namedPerson(account, state);
  const person = state.directory.default(state.behaviour);
  if (!person) throw new Refusal(WIRE_STATUS.interactionRequired, "Nobody is signed in");
  return person;
}

/** The account at the root, where the first releases alone look for it; later ones look below too. */
function himmelblauAccount(request: JsonObject, { behaviour }: BrokerState): unknown {
  const below = (request.authParameters as JsonObject).account;
  const account = behaviour.sender === "himmelblau-0.1" ? request.account : request.account ?? below;
  if (!isObject(account)) throw new Refusal(WIRE_STATUS.unexpected, "Missing account");
  return account;
}

/** The person of an account, which Microsoft's brokers want back as they gave it. */
function namedPerson(account: unknown, state: BrokerState): Person {
  const person = lookUp(account, state);
  const missing = Object.keys(wireAccount(person, state)).find((key) => !(key in (account as JsonObject)));
  if (missing === undefined || isHimmelblau(state)) return person;
  throw new Refusal(WIRE_STATUS.contractViolation, `account.${missing} is missing`);
}

function lookUp(account: unknown, state: BrokerState): Person {
  const person = state.directory.find(state.behaviour, account);
  if (person) return person;
  if (isHimmelblau(state)) throw new Refusal(WIRE_STATUS.unexpected, "Invalid request for user!");
  throw new Refusal(WIRE_STATUS.accountNotFound, "The account is not known");
}

/** User name of the person who signs in: the account's, the hint's, or that of whoever sits there. */
function userOfSignIn(request: JsonObject, state: BrokerState): string {
  const parameters = request.authParameters as JsonObject;
  if (isHimmelblau(state)) {
    // A null at the root hides the account below.
    const account = "account" in request ? request.account : parameters.account;
    const username = isObject(account) ? account.username : undefined;
    if (typeof username !== "string") throw new Refusal(WIRE_STATUS.unexpected, "Missing account username in request");
    return namedPerson(account, state).username;
  }
  if (isObject(parameters.account)) return namedPerson(parameters.account, state).username;
  return String(parameters.username || state.directory.default(state.behaviour)?.username || "jane@contoso.com");
}

/** himmelblau signs no request. Since 4.0 it binds tokens to a key of the caller's. */
function parametersFor(parameters: JsonObject, state: BrokerState): JsonObject {
  const { popParams } = parameters, isKnown = state.behaviour.sender === "himmelblau-4.0" && isObject(popParams);
  const kid = isKnown && popParams.authenticationScheme === "pop" ? popParams.kid : undefined;
  return isHimmelblau(state) ? { ...parameters, popParams: null, kid } : parameters;
}

function fillToken(member: string, person: Person, token: JsonObject, state: BrokerState): unknown {
  return fillWire(state.behaviour.sender, member, { ...token, account: wireAccount(person, state) });
}

function wireAccount(person: Person, { behaviour }: BrokerState): JsonObject {
  return fillWire(behaviour.sender, "account", accountValues(person)) as JsonObject;
}

function isHimmelblau({ behaviour }: BrokerState): boolean {
  return behaviour.sender.startsWith("himmelblau");
}
