/**
 * Subscriptions of an account: from Azure Resource Manager, kept for a while, since Terraform asks for all of them each time.
 *
 * @module
 */
import { idKey } from "../../../lib/account.ts";
import { isHttpsOrLoopback } from "../../../lib/authority.ts";
import { isGuid, isObject, type JsonObject, readJson, readText } from "../../../lib/encoding.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../../../lib/errors.ts";
import { withLock } from "../../../lib/files/lock.ts";
import { readPrivateFile, replacePrivateFile } from "../../../lib/files/private_files.ts";
import { stateFolder } from "../../../lib/files/user_folders.ts";
import { makeFetch } from "../../../lib/http/client.ts";
import { boundedFetch } from "../../../lib/oauth/bounded_fetch.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";
import { UsageError } from "../../cli/command_line.ts";

/** A subscription. */
export interface Subscription {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly tenantId: string;
  readonly managedByTenants: readonly { readonly tenantId: string }[];
}

/** The known subscriptions of an account. */
interface KnownSubscriptions {
  /** The last list of Azure Resource Manager; `undefined` if none is kept. */
  readonly list: readonly Subscription[] | undefined;
  /** True if the list is recent. */
  readonly isFresh: boolean;
  /** Id of the one that `az account set` chose. */
  readonly chosen: string | undefined;
}

/** Time for which a list is used, and the number of lists that are kept. */
const KEPT_MS = 60 * 60_000;
const MAX_LISTS = 16;
/** Limits of a request, and the greatest number of pages. */
const REQUEST_MS = 15_000;
const MAX_PAGES = 50;
const API_VERSION = "2022-12-01";

/** Fetches the subscriptions that a token of Azure Resource Manager can see. */
export async function fetchSubscriptions(
  resourceManager: string,
  { accessToken, tenantId }: Pick<AuthenticationResult, "accessToken" | "tenantId">,
  signal: AbortSignal | undefined,
): Promise<readonly Subscription[]> {
  const first = new URL(`subscriptions?api-version=${API_VERSION}`, withSlash(resourceManager));
  const found: Subscription[] = [];
  let next: URL | undefined = first;
  for (let page = 0; next && page < MAX_PAGES; page++) {
    const body: JsonObject = await getJson(next, accessToken, signal);
    const entries = Array.isArray(body.value) ? body.value.filter(isObject) : [];
    found.push(...entries.flatMap((entry) => readSubscription(entry, tenantId) ?? []));
    const link = readText(body.nextLink);
    // The token goes to no other server.
    next = link !== undefined && URL.canParse(link) && new URL(link).origin === first.origin
      ? new URL(link)
      : undefined;
  }
  return found;
}

function readSubscription(entry: JsonObject, tenantId: string): Subscription | undefined {
  const id = readText(entry.subscriptionId);
  if (id === undefined || !isGuid(id)) return undefined;
  const managed = Array.isArray(entry.managedByTenants) ? entry.managedByTenants.filter(isObject) : [];
  return {
    id,
    name: readText(entry.displayName) ?? id,
    state: readText(entry.state) ?? "Enabled",
    tenantId: readText(entry.tenantId) ?? tenantId,
    managedByTenants: managed.flatMap(({ tenantId }) => typeof tenantId === "string" ? [{ tenantId }] : []),
  };
}

/**
 * Sends a request with a token to a service of Azure's, and returns the JSON of its answer.
 *
 * @throws {LatchkeyError} `refused` if the service refuses it; `no_network`, `timed_out`, `temporarily_unavailable`,
 * `invalid_response`.
 */
export async function getJson(url: URL, accessToken: string, signal: AbortSignal | undefined): Promise<JsonObject> {
  const fetch = boundedFetch({ fetch: makeFetch(), timeoutMs: REQUEST_MS, signal }, { retry: true });
  const headers = { accept: "application/json", authorization: `Bearer ${accessToken}` };
  const response = await fetch(url.href, { headers, redirect: "manual" });
  const { status } = response;
  const body = readJson(await response.text());
  if (status === 200 && body) return body;
  const { code, message } = isObject(body?.error) ? body.error : {};
  const reason = [readText(code), readText(message)].filter(Boolean).join(": ") || `HTTP status ${status}`;
  throw new LatchkeyError(failureCode(status), `${url.hostname} answered: ${reason}`);
}

/** Returns the code for a response with this status and no usable JSON. */
function failureCode(status: number): LatchkeyErrorCode {
  if (status === 429 || status >= 500) return "temporarily_unavailable";
  return status === 200 ? "invalid_response" : "refused";
}

/** Returns the address of a service, with a slash at its end. @throws {UsageError} if it is not https. */
export function serviceAddress(option: string, address: string): string {
  if (URL.canParse(address) && isHttpsOrLoopback(new URL(address))) return withSlash(address);
  throw new UsageError(`--${option} takes an address with https:, not ${JSON.stringify(address)}`);
}

function withSlash(address: string): string {
  return address.endsWith("/") ? address : `${address}/`;
}

/** The owner of a list and of a choice. */
export interface Holder {
  readonly resourceManager: string;
  readonly account: Pick<AuthenticationResult, "account">["account"];
  readonly tenantId: string;
  /** Name of the profile. */
  readonly profile: string | undefined;
}

interface State {
  readonly lists: Readonly<
    Record<string, { readonly fetchedOn: number; readonly subscriptions: readonly Subscription[] }>
  >;
  readonly chosen: Readonly<Record<string, string>>;
}

const EMPTY: State = { lists: {}, chosen: {} };

function listKey({ resourceManager, account, tenantId }: Holder): string {
  return [resourceManager, tenantId, idKey(account.homeAccountId)].join(" ");
}

function choiceKey({ profile = "", account }: Pick<Holder, "profile" | "account">): string {
  return [profile, idKey(account.homeAccountId)].join(" ");
}

/** Reads what is kept; nothing if there is no folder for it, or it is damaged. */
export async function knownSubscriptions(holder: Holder, now: number = Date.now()): Promise<KnownSubscriptions> {
  const { lists, chosen } = await readState();
  const kept = lists[listKey(holder)];
  const age = kept && now - kept.fetchedOn;
  return {
    list: kept?.subscriptions,
    isFresh: age !== undefined && age >= 0 && age < KEPT_MS,
    chosen: chosen[choiceKey(holder)],
  };
}

/** Keeps a list, if there is a folder for it. */
export async function keepSubscriptions(
  holder: Holder,
  subscriptions: readonly Subscription[],
  now: number = Date.now(),
): Promise<void> {
  const key = listKey(holder);
  const change = ({ lists, chosen }: State): State => {
    const others = Object.entries(lists).filter(([each]) => each !== key)
      .toSorted(([, one], [, other]) => other.fetchedOn - one.fetchedOn).slice(0, MAX_LISTS - 1);
    return { chosen, lists: Object.fromEntries([[key, { fetchedOn: now, subscriptions }], ...others]) };
  };
  try {
    await changeState(change);
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error; // the list is good even so
  }
}

/** Keeps the choice of `az account set`. */
export async function chooseSubscription(holder: Holder, id: string): Promise<void> {
  await changeState(({ lists, chosen }) => ({ lists, chosen: { ...chosen, [choiceKey(holder)]: id } }));
}

/** Forgets what is kept of some accounts. */
export async function forgetSubscriptions(accounts: readonly Holder["account"][]): Promise<void> {
  const ids = accounts.map(({ homeAccountId }) => idKey(homeAccountId));
  const without = <T>(record: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(record).filter(([key]) => !ids.some((id) => key.endsWith(` ${id}`))));
  if (JSON.stringify(await readState()) === JSON.stringify(EMPTY)) return;
  await changeState(({ lists, chosen }) => ({ lists: without(lists), chosen: without(chosen) }));
}

function statePath(): string {
  return `${stateFolder()}/azure_subscriptions.json`;
}

async function readState(): Promise<State> {
  try {
    const bytes = await readPrivateFile(statePath());
    return stateIn(readJson(new TextDecoder().decode(bytes ?? new Uint8Array())));
  } catch (error) {
    if (error instanceof LatchkeyError) return EMPTY;
    throw error;
  }
}

/** Returns a state, without what is not one: the file may be another version's. */
function stateIn(json: JsonObject | undefined): State {
  const entriesOf = (value: unknown) => isObject(value) ? Object.entries(value) : [];
  const isSubscription = (value: unknown): value is Subscription =>
    isObject(value) && ["id", "name", "state", "tenantId"].every((key) => typeof value[key] === "string") &&
    Array.isArray(value.managedByTenants);
  const lists = entriesOf(json?.lists).flatMap(([key, kept]) =>
    isObject(kept) && typeof kept.fetchedOn === "number" && Array.isArray(kept.subscriptions)
      ? [[key, { fetchedOn: kept.fetchedOn, subscriptions: kept.subscriptions.filter(isSubscription) }] as const]
      : []
  );
  const chosen = entriesOf(json?.chosen).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return { lists: Object.fromEntries(lists), chosen: Object.fromEntries(chosen) };
}

async function changeState(change: (state: State) => State): Promise<void> {
  const path = statePath();
  await withLock(`${path}.lockfile`, async () => {
    const text = `${JSON.stringify(change(await readState()))}\n`;
    await replacePrivateFile(path, new TextEncoder().encode(text));
  });
}
