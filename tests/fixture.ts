/**
 * What a test needs, opened by one call, the sample ids, and `failure(promise)`. What a test does not name is not opened.
 *
 * - One test: `await using stage = await openStage({ broker: { sender: "himmelblau-4.0" }, keyring: "unlocked" })`.
 * - All tests of a suite: `const stage = useStage({ broker: {} })`. It opens before the first test; each test finds a broker that
 *   nobody has used, with the behavior given here.
 * - `stage.makeApp(options)` makes an application for the parts, and closes it; `stage.environment` is for a program.
 * - `useEntra()`: Microsoft Entra ID, played by a fake.
 * - `stage.folder` and `stage.home` are made when first asked for, also `using home = openHome()`; all of it goes with the stage.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";
import { LatchkeyError } from "../lib/errors.ts";
import type { PublicClientApplication, PublicClientApplicationOptions } from "../mod.ts";
import type { Behaviour, Call } from "./fakes/behaviour.ts";
import { FakeEntra } from "./fakes/fake_entra.ts";
import type { PrivateBus } from "./fakes/private_bus.ts";
import type { FakeBroker } from "./fakes/start_fake_broker.ts";
import { BROKER } from "./fakes/tested_broker.ts";
import type { OidcProvider } from "./tools/start_oidc_provider.ts";

/** A client id of nobody's. */
export const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
/** The tenant of the people at contoso.com. */
export const CONTOSO = "11111111-1111-1111-1111-111111111111";
export const JANE = { username: "jane@contoso.com" } as const;
export const JOE = { username: "joe@contoso.com" } as const;

/** The parts of a stage. A broker and a keyring open a bus. */
export interface StageParts {
  /** A session bus with no service, at which `DBUS_SESSION_BUS_ADDRESS` points while the stage is open. */
  readonly bus?: boolean;
  /** The fake broker, and how it differs from `microsoft-2.5.2` that knows jane. */
  readonly broker?: Partial<Behaviour>;
  /** A real gnome-keyring. */
  readonly keyring?: "unlocked" | "locked" | "empty";
  /** A real OpenID provider on loopback: any user name signs in. */
  readonly provider?: boolean;
}

/** A home folder, so that no test sees what another one, or the developer, has stored. */
export interface Home extends Disposable {
  readonly path: string;
  /** Folder of the command line's tokens. */
  readonly state: string;
  /** Folder of the command line's profiles. */
  readonly config: string;
  /** Environment variables that make it the home of a program. */
  readonly env: Readonly<Record<string, string>>;
}

/** The broker unless a test says otherwise. */
const NORMAL: Behaviour = {
  sender: "microsoft-2.5.2",
  accounts: [JANE],
  defaultAccount: JANE.username,
  tokenLifetimeSeconds: 4000,
  startDelayMs: 0,
  noPing: false,
  replies: {},
};

/** Methods that the fake remembers, so that the next test would see them. */
const LASTING = ["acquireTokenInteractively", "removeAccount", "signOutSilently"];

/** Opens the parts of one test. */
export async function openStage(parts: StageParts = {}): Promise<Stage> {
  const stage = new Stage(parts);
  await stage.open();
  return stage;
}

/** Opens parts before the tests of the suite or group that calls this, and closes them after those. */
export function useStage(parts: StageParts = {}): Stage {
  const stage = new Stage(parts);
  beforeAll(() => stage.open());
  afterEach(() => stage.reset());
  afterAll(() => stage[Symbol.asyncDispose]());
  return stage;
}

/** Starts a fake of Microsoft Entra ID for the suite or group that calls this; each test finds one that nobody has asked. */
export function useEntra(): FakeEntra {
  const entra = new FakeEntra();
  beforeAll(() => entra.listen());
  beforeEach(() => entra.reset());
  afterAll(() => entra[Symbol.asyncDispose]());
  return entra;
}

/** The parts that are open. Its methods can be taken out by name. */
export class Stage implements AsyncDisposable {
  readonly #parts: StageParts;
  readonly #apps: PublicClientApplication[] = [];
  #makeApp: ((options: PublicClientApplicationOptions) => PublicClientApplication) | undefined;
  #bus: PrivateBus | undefined;
  #broker: FakeBroker | undefined;
  #provider: OidcProvider | undefined;
  #folder: string | undefined;
  #home: Home | undefined;
  #busBefore: string | undefined;

  constructor(parts: StageParts) {
    this.#parts = parts;
  }

  get bus(): PrivateBus {
    return opened(this.#bus, "bus");
  }

  get broker(): FakeBroker {
    return opened(this.#broker, "broker");
  }

  get provider(): OidcProvider {
    return opened(this.#provider, "provider");
  }

  /** A folder of the test's own. */
  get folder(): string {
    this.#folder ??= mkdtempSync(join(tmpdir(), "stage-"));
    return this.#folder;
  }

  /** Makes one more, empty, that only this user may open. */
  readonly newFolder = (): string => mkdtempSync(join(this.folder, "folder-"));

  get home(): Home {
    this.#home ??= openHome();
    return this.#home;
  }

  /** Environment variables by which a program finds the home and the bus. */
  get environment(): Readonly<Record<string, string>> {
    return { ...this.home.env, ...(this.#bus && { DBUS_SESSION_BUS_ADDRESS: this.#bus.address }) };
  }

  /** Opens the parts. */
  readonly open = async (): Promise<void> => {
    const { bus = false, broker, keyring, provider = false } = this.#parts;
    const { PublicClientApplication } = await import("../mod.ts");
    this.#makeApp = (options) => new PublicClientApplication(options);
    if (bus || broker || keyring) await this.#openBus();
    if (keyring) {
      const { addPrivateKeyring } = await import("./fakes/private_keyring.ts");
      await addPrivateKeyring(this.bus, keyring);
    }
    if (broker) {
      const { startFakeBroker } = await import("./fakes/start_fake_broker.ts");
      this.#broker = await startFakeBroker(this.bus, { ...NORMAL, ...broker });
    }
    if (provider) {
      const { startOidcProvider } = await import("./tools/start_oidc_provider.ts");
      this.#provider = await startOidcProvider();
    }
  };

  async #openBus(): Promise<void> {
    if (BROKER === "msalruntime") {
      const { givenBus } = await import("./fakes/given_bus.ts");
      this.#bus = givenBus();
    } else {
      const { startPrivateBus } = await import("./fakes/private_bus.ts");
      this.#bus = await startPrivateBus();
    }
    this.#busBefore = process.env.DBUS_SESSION_BUS_ADDRESS;
    process.env.DBUS_SESSION_BUS_ADDRESS = this.#bus.address;
  }

  /** Closes the applications, and makes the broker one that nobody has used. */
  readonly reset = async (): Promise<void> => {
    for (const app of this.#apps.splice(0)) app.close();
    if (!this.#broker) return;
    const calls = await this.#broker.calls();
    await this.behave();
    if (calls.some(({ member }) => LASTING.includes(member))) {
      await this.#broker.kill();
      await this.#broker.start();
    }
    await this.#broker.forgetCalls();
    if (BROKER !== "msalruntime") return;
    const { emptyKeyring } = await import("./fakes/given_bus.ts");
    await emptyKeyring(this.bus.address);
  };

  /** Makes an application for the broker and the provider, if they are there; it is closed after the test. */
  readonly makeApp = (options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication => {
    const { clientId = CLIENT_ID, url: authority } = this.#provider ?? {};
    const target = { ...(authority && { authority }), ...(this.#broker && { enableBrokerOnLinux: true }) };
    const app = opened(this.#makeApp, "application")({ clientId, ...target, ...options });
    this.#apps.push(app);
    return app;
  };

  /** Sets the whole behavior: the one that the stage was opened with, and these changes. */
  readonly behave = async (changes: Partial<Behaviour> = {}): Promise<void> => {
    await this.broker.behave({ ...NORMAL, ...this.#parts.broker, ...changes });
  };

  /** Waits until the broker got so many calls of a method, and returns them. */
  readonly called = async (member: string, times = 1): Promise<Call[]> => {
    for (;;) {
      const calls = await this.broker.calls(member);
      if (calls.length >= times) return calls;
      await delay(1);
    }
  };

  /** Returns the last request of a method. */
  readonly requestOf = async (member: string): Promise<Call["request"]> =>
    (await this.broker.calls(member)).at(-1)!.request;

  /** Returns what the broker was asked for a token with, in order: silently and for whom, or by the window. */
  readonly steps = async (): Promise<string[]> =>
    (await this.broker.calls()).flatMap(({ member, request }) => {
      if (member === "acquireTokenInteractively") return ["window"];
      const { account } = request?.authParameters ?? {};
      return member === "acquireTokenSilently" ? [`silently ${account?.username ?? "whoever is signed in"}`] : [];
    });

  async [Symbol.asyncDispose](): Promise<void> {
    for (const app of this.#apps.splice(0)) app.close();
    await this.#provider?.[Symbol.asyncDispose]();
    await this.#broker?.stop();
    if (this.#bus) {
      await this.#bus.stop();
      if (this.#busBefore === undefined) delete process.env.DBUS_SESSION_BUS_ADDRESS;
      else process.env.DBUS_SESSION_BUS_ADDRESS = this.#busBefore;
    }
    this.#home?.[Symbol.dispose]();
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true });
  }
}

function opened<T>(part: T | undefined, name: string): T {
  if (part === undefined) throw new Error(`The stage was opened without ${name}, or is not open yet`);
  return part;
}

/** Makes a home folder; it is removed when it is disposed of. */
export function openHome(): Home {
  const path = mkdtempSync(join(tmpdir(), "latchkey-home-"));
  const { HOME = "/", XDG_CACHE_HOME = join(HOME, ".cache"), DENO_DIR = join(XDG_CACHE_HOME, "deno") } = process.env;
  const { NODE_COMPILE_CACHE } = process.env;
  return {
    path,
    state: join(path, "state/latchkey"),
    config: join(path, "config/latchkey"),
    env: {
      HOME: path,
      XDG_STATE_HOME: join(path, "state"),
      XDG_CONFIG_HOME: join(path, "config"),
      // What Deno and Node have compiled need not be compiled again.
      DENO_DIR,
      ...(NODE_COMPILE_CACHE !== undefined && { NODE_COMPILE_CACHE }),
      BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0", // Bun would keep it there
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** Returns the error of ours that a call fails with. */
export async function failure(call: Promise<unknown>): Promise<LatchkeyError> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(LatchkeyError);
  return error as LatchkeyError;
}

/** Returns what a call rejects with: a caller's reason, a `TypeError`. */
// deno-lint-ignore no-explicit-any -- as what a catch gives
export async function rejection(call: Promise<unknown>): Promise<any> {
  try {
    await call;
  } catch (reason) {
    return reason;
  }
  throw new Error("It did not fail");
}

/** Fails when a secret can be seen in an error, whichever way it is shown. */
export function expectNoSecret(error: LatchkeyError, ...secrets: readonly string[]): void {
  expect(error).toBeInstanceOf(LatchkeyError);
  expect(error.cause).toBeUndefined();
  const { message, stack, hint } = error;
  const shown = [message, stack, hint, inspect(error, { depth: 9 }), JSON.stringify(error)].join("\n");
  for (const secret of secrets) expect(shown).not.toContain(secret);
}
