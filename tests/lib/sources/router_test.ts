// When the broker is used, and what happens when it fails: every combination of platform, flags, authority, what the broker
// takes, what Deno permits, and how the broker is, against the table of the design. Brokers are played: all that is looked
// at is who is asked, and what comes of it.
import { describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import type { Broker, BrokerFlags, BrokerKind } from "../../../lib/broker/broker.ts";
import { DEFAULT_TIME_LIMITS } from "../../../lib/broker/time_limits.ts";
import type { BrokerPlatform } from "../../../lib/broker/detect.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../../../lib/errors.ts";
import { tokenQuery } from "../../../lib/request.ts";
import { TokenRouter } from "../../../lib/sources/router.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";

const ACCOUNT = {
  homeAccountId: "o.t",
  localAccountId: "o",
  environment: "login.microsoftonline.com",
  tenantId: "t",
  realm: "t",
  username: "jane@contoso.com",
  source: "broker",
} as const;
const NOW = 1_800_000_000_000;

const PLATFORMS = {
  Windows: { system: "win32", arch: "x86_64", isWsl: false },
  "macOS": { system: "darwin", arch: "aarch64", isWsl: false },
  "macOS on Intel": { system: "darwin", arch: "x86_64", isWsl: false },
  Linux: { system: "linux", arch: "x86_64", isWsl: false },
  "Linux, perhaps WSL": { system: "linux", arch: "x86_64", isWsl: undefined },
  WSL: { system: "linux", arch: "aarch64", isWsl: true },
} satisfies Record<string, BrokerPlatform>;
type Platform = keyof typeof PLATFORMS;

const FLAGS = ["enableBrokerOnWindows", "enableBrokerOnWsl", "enableBrokerOnMac", "enableBrokerOnLinux"] as const;
const AUTHORITIES = {
  entra: "https://login.microsoftonline.com/common",
  adfs: "https://adfs.contoso.com/adfs",
  b2c: "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_a",
  ciam: "https://contoso.ciamlogin.com",
  oidc: "https://id.contoso.com",
} as const;

/** How a broker is, from what it takes to be reached to what it answers. */
const STATES = ["not installed", "not permitted", "misconfigured", "cannot start", "well", "gone", "refuses"] as const;
type State = (typeof STATES)[number];

/** What each state is thrown as when the broker is started, or, when it was, asked. */
const THROWN: Readonly<Record<State, LatchkeyErrorCode | undefined>> = {
  "not installed": "missing_dependency",
  "not permitted": "missing_dependency",
  misconfigured: "configuration",
  "cannot start": "broker_unavailable",
  well: undefined,
  gone: "broker_unavailable",
  refuses: "refused",
};
const STARTS: readonly State[] = ["well", "gone", "refuses"];

/** What is combined. */
interface Case {
  readonly platform: Platform;
  readonly flags: BrokerFlags;
  readonly authority: keyof typeof AUTHORITIES;
  readonly requireBroker: boolean;
  /** How the platform's own broker is. */
  readonly state: State;
  /** How the broker on the session bus is, where another one goes before it. */
  readonly next: State;
}

/** What came of it. */
interface Outcome {
  /** Brokers that were started, or tried to be, in order. */
  readonly tried: string;
  /** How a silent call ended: with the `broker`'s token, by the `cache` alone, or with a code. */
  readonly silently: string;
  /** How a sign-in ended: by the `broker`, the `browser`, or with a code. */
  readonly signIn: string;
  readonly status: "active" | "off" | "unavailable";
}

/** The table of the design, row for row. */
function expected({ platform, flags, authority, requireBroker, state, next }: Case): Outcome {
  const without = (tried: string, status: Outcome["status"]): Outcome =>
    requireBroker
      ? { tried, silently: "broker_unavailable", signIn: "broker_unavailable", status }
      : { tried, silently: "cache", signIn: "browser", status };

  // "ADFS, B2C, CIAM, a plain OIDC authority: broker bypassed, no error"
  if (authority !== "entra") return without("", "off");
  // "flag for this platform off: no broker, nothing is probed. The Linux flag covers Linux and WSL, the WSL flag WSL alone"
  // "macOS on Intel: off". Where Deno does not tell whether it is WSL, it is Linux.
  const brokers: Readonly<Record<Platform, readonly BrokerKind[]>> = {
    Windows: flags.enableBrokerOnWindows ? ["msalruntime"] : [],
    macOS: flags.enableBrokerOnMac ? ["msalruntime"] : [],
    "macOS on Intel": [],
    Linux: flags.enableBrokerOnLinux ? ["linux"] : [],
    "Linux, perhaps WSL": flags.enableBrokerOnLinux ? ["linux"] : [],
    WSL: flags.enableBrokerOnLinux ? ["wsl", "linux"] : flags.enableBrokerOnWsl ? ["wsl"] : [],
  };
  const states = brokers[platform].map((kind, index) => ({ kind, state: index === 0 ? state : next }));
  if (states.length === 0) return without("", "off");

  const found = states.find(({ state }) => STARTS.includes(state));
  const tried = states.slice(0, found ? states.indexOf(found) + 1 : undefined).map(({ kind }) => kind).join(" ");
  if (found) {
    // "broker up, then gone in mid-call: broker_unavailable, never the browser"; "request refused: the error, no fallback"
    const ended = THROWN[found.state] ?? "broker";
    return { tried, silently: ended, signIn: ended, status: "active" };
  }
  // "a direct dependency is missing, or Deno's permissions leave no way to it: missing_dependency at the first call"
  const mendable = states.map(({ state }) => THROWN[state]!).find((code) => code !== "broker_unavailable");
  // Each is tried again at the next call, since it can have been mended: at the silent one, the sign-in, and the status.
  if (mendable) {
    return { tried: [tried, tried, tried].join(" "), silently: mendable, signIn: mendable, status: "unavailable" };
  }
  // "cannot be started: off for this app object; the browser flow takes over (with requireBroker: broker_unavailable)"
  return without(tried, "unavailable");
}

async function outcomeOf({ platform, flags, authority, requireBroker, state, next }: Case): Promise<Outcome> {
  const tried: BrokerKind[] = [], app = { authority: parseAuthority(AUTHORITIES[authority]) };
  const start = (kind: BrokerKind): Promise<Broker> => {
    tried.push(kind);
    const how = kind === "linux" && platform === "WSL" ? next : state;
    return STARTS.includes(how) ? Promise.resolve(playedBroker(kind, how)) : Promise.reject(failureOf(how));
  };
  let opened = false;
  const sources = new TokenRouter({
    clientId: "11111111-2222-4333-8444-555555555555",
    ...app,
    ...{ flags, requireBroker, timeLimits: DEFAULT_TIME_LIMITS, now: () => NOW, log: () => {} },
    search: { platform: PLATFORMS[platform], start },
    // Whoever goes for the browser asks, or would open, the identity provider first.
    fetch: () => {
      opened = true;
      return Promise.reject(new TypeError("no network"));
    },
    browser: {
      openBrowser: () => {
        opened = true;
        return false;
      },
    },
  });
  const query = tokenQuery({ scopes: ["User.Read"] }, app);
  const silently = await ended(sources.silently(query));
  const signIn = await ended(sources.signIn(query, "window"));
  const { state: status } = await sources.broker.status({});
  sources.close();
  return {
    tried: tried.join(" "),
    silently: silently === "interaction_required" ? "cache" : silently,
    signIn: opened ? "browser" : signIn,
    status,
  };
}

async function ended(call: Promise<AuthenticationResult>): Promise<string> {
  try {
    return (await call).source;
  } catch (error) {
    if (error instanceof LatchkeyError) return error.code;
    throw error;
  }
}

function failureOf(state: State): LatchkeyError {
  const broker = { status: 6, subStatus: 0 };
  return new LatchkeyError(THROWN[state]!, state, { remedy: state, ...(state === "refuses" && { broker }) });
}

/** A broker in a state that it can be in once it was started. */
function playedBroker(kind: BrokerKind, state: State): Broker {
  const answer = <T>(value: T): Promise<T> =>
    state === "well" ? Promise.resolve(value) : Promise.reject(failureOf(state));
  const token = (): Promise<AuthenticationResult> =>
    answer(
      {
        ...{ accessToken: "a.b.c", tokenType: "Bearer", expiresOn: new Date(NOW + 3_600_000), scopes: ["User.Read"] },
        ...{ account: ACCOUNT, tenantId: "t", source: "broker", correlationId: "1" },
      } as const,
    );
  return {
    kind,
    getAccounts: () => answer([ACCOUNT]),
    acquireTokenSilently: token,
    acquireTokenInteractively: token,
    removeAccount: () => answer(undefined),
    acquireSsoCookies: () => answer([]),
    signHttpRequest: () => answer("a.b.c"),
    isPopSupported: () => answer(true),
    version: () => Promise.resolve("1.0"),
    close: () => {},
  };
}

function* allCases(platform: Platform): Generator<Case> {
  const sets = FLAGS.reduce<readonly BrokerFlags[]>(
    (sets, flag) => sets.flatMap((set) => [set, { ...set, [flag]: true }]),
    [{}],
  );
  const authorities = Object.keys(AUTHORITIES) as (keyof typeof AUTHORITIES)[];
  for (const flags of sets) {
    for (const authority of authorities) {
      for (const requireBroker of [false, true]) {
        for (const state of STATES) {
          for (const next of platform === "WSL" ? STATES : [state]) {
            yield { platform, flags, authority, requireBroker, state, next };
          }
        }
      }
    }
  }
}

describe("the broker is used, or not, as the table of the design has it", () => {
  test.each(Object.keys(PLATFORMS) as Platform[])("on %s", async (platform) => {
    const wrong: unknown[] = [];
    for (const each of allCases(platform)) {
      const should = expected(each), is = await outcomeOf(each);
      if (!Bun.deepEquals(is, should)) wrong.push({ each, should, is });
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  });
});

/** Reasons and hints, where several brokers were tried. */
test("what can be mended is told first, and what else was tried", async () => {
  const failures = {
    wsl: new LatchkeyError("broker_unavailable", "no Windows", { remedy: "Update WSL" }),
    linux: new LatchkeyError("missing_dependency", "no client", { remedy: "Install one" }),
  };
  const app = { authority: parseAuthority(AUTHORITIES.entra) };
  const sources = new TokenRouter({
    ...{ clientId: "1", ...app, requireBroker: false, timeLimits: DEFAULT_TIME_LIMITS, now: () => NOW, log: () => {} },
    ...{ flags: { enableBrokerOnLinux: true }, browser: {} },
    search: { platform: PLATFORMS.WSL, start: (kind) => Promise.reject(failures[kind as "wsl" | "linux"]) },
  });
  const query = tokenQuery({ scopes: ["a"] }, app), error = await sources.silently(query).catch((error) => error);
  expect(error).toMatchObject({ code: "missing_dependency", hint: "Install one; or update WSL" });
  expect(error.correlationId).toBe(query.correlationId);
  expect(error.message).toBe("no client; no Windows");
});
