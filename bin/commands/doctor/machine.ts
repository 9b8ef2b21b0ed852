/**
 * Checks of the machine, the runtime, the network and the profile.
 *
 * @module
 */
import { makeFetch } from "../../../lib/http/client.ts";
import { findProxy } from "../../../lib/http/proxy.ts";
import { currentRuntime, denoNamespace, isAtLeast, quoteCommand, readEnvironment } from "../../../lib/runtime/host.ts";
import { readMachine } from "../../../lib/runtime/machine.ts";
import { PublicClientApplication } from "../../../lib/application.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { systemWord } from "../../../lib/remedies.ts";
import { CLOCK_TOLERANCE_S } from "../../../lib/token.ts";
import { asFailure, type Check, failed, type Finding, NO_CLIENT_ID, notChecked, ok, tolerated } from "./check.ts";

/** Names the operating system, distribution and processor, for bug reports. */
export const platform: Check = {
  id: "platform",
  limitMs: 2_000,
  async run() {
    const { system, arch, release, distribution, isWsl, missingFlags } = await readMachine();
    const facts = [`${system} ${arch}`, distribution, release, isWsl && "WSL"].filter(Boolean).join(", ");
    if (missingFlags.length === 0) return ok(facts);
    return ok(`${facts}; not checked: facts that Deno may not read`, `Run deno with ${quoteCommand(missingFlags)}`);
  },
};

export const runtime: Check = {
  id: "runtime",
  limitMs: 2_000,
  run() {
    const { name, version, oldest } = currentRuntime();
    return isAtLeast(version, oldest)
      ? ok(`${name} ${version}`)
      : failed(`${name} ${version} is too old`, `Update ${name} to ${oldest} or later`);
  },
};

/** Path of Microsoft Entra ID's metadata (OpenID Connect Discovery, 4). */
const DOCUMENT = "/v2.0/.well-known/openid-configuration";

/** Connects to the authority. A broker has its own connection, which may work even if this one does not. */
export const network: Check = {
  id: "network",
  limitMs: 5_000,
  after: ["silent_token"],
  async run({ authority }, { signal, stateOf }) {
    const finding = notPermitted(authority) ?? await connect(authority, signal);
    if (finding.state !== "failed" || stateOf("silent_token") !== "ok") return finding;
    return tolerated(finding, "silent_token succeeded without it");
  },
};

function notPermitted(url: string): Finding | undefined {
  const { host } = new URL(url);
  const deno = denoNamespace();
  if (!deno || deno.permissions.querySync({ name: "net", host }).state === "granted") return undefined;
  return notChecked(`Deno may not connect to ${host}`, `Run deno with ${quoteCommand([`--allow-net=${host}`])}`);
}

async function connect(authority: string, signal: AbortSignal): Promise<Finding> {
  const send = makeFetch();
  const url = new URL(authority);
  const begin = performance.now();
  let hasSent = false;
  const app = new PublicClientApplication({
    ...{ clientId: NO_CLIENT_ID, authority },
    fetch: (url, init) => {
      hasSent = true;
      return send(url, { ...init, signal: AbortSignal.any([signal, ...init.signal ? [init.signal] : []]) });
    },
  });
  try {
    const proxy = await findProxy(url, readEnvironment);
    const route = proxy instanceof URL ? ` through the proxy ${proxy.host}` : "";
    // Requests the metadata, unless the authority's endpoints are known.
    await app.getAuthorizationRequestUrl({ scopes: ["User.Read"] });
    if (!hasSent) {
      const [, tenant] = url.pathname.split(/\/+/);
      const { status, body } = await send(`${url.origin}/${tenant}${DOCUMENT}`, { signal });
      await body?.cancel();
      if (status !== 200) {
        return failed(`${url.host} answered${route}, but is not an authority (status ${status})`, "Check --authority");
      }
    }
    return ok(`${url.host} answered${route} in ${Math.ceil(performance.now() - begin)} ms`);
  } catch (error) {
    if (error instanceof LatchkeyError && error.code === "missing_dependency") {
      return notChecked(error.message, error.remedy); // the proxy's address
    }
    return asFailure(error);
  } finally {
    await app.close();
  }
}

/** Compares the clock with that of the authority, and contacts no other server. */
export const clock: Check = {
  id: "clock",
  limitMs: 3_000,
  async run({ authority }, { signal }) {
    const denied = notPermitted(authority);
    if (denied) return denied;
    const { host, origin } = new URL(authority);
    const begin = Date.now();
    const date = await serverTime(origin, signal);
    if (date === undefined) return notChecked(`${host} did not return its time; check the network`);
    const offset = Math.round(((begin + Date.now()) / 2 - date) / 1000);
    const detail = offset === 0
      ? `the same as ${host}`
      : `${Math.abs(offset)} s ${offset > 0 ? "ahead of" : "behind"} ${host}`;
    if (Math.abs(offset) <= CLOCK_TOLERANCE_S) return ok(detail);
    const { isWsl } = await readMachine();
    return failed(detail, isWsl ? "sudo hwclock -s" : systemWord("setClock"));
  },
};

/** Returns milliseconds since 1970; `undefined` if the server cannot be reached. */
async function serverTime(origin: string, signal: AbortSignal): Promise<number | undefined> {
  try {
    const response = await makeFetch()(origin, { method: "HEAD", signal });
    await response.body?.cancel();
    return Date.parse(response.headers.get("date") ?? "") || undefined;
  } catch {
    return undefined;
  }
}

const FIX_PROFILE = "Fix that file, or choose another profile (--profile, LATCHKEY_PROFILE)";

export const profile: Check = {
  id: "profile",
  limitMs: 1_000,
  run({ profile: { name, problem } }) {
    if (!problem) return ok(name === undefined ? "none is used" : `options are taken from ${name}`);
    const known = [problem, problem.cause].find((error) => error instanceof LatchkeyError);
    const { detail, fix = FIX_PROFILE } = known ? asFailure(known) : failed(problem.message, FIX_PROFILE);
    return failed(`${detail}; the other checks ran without a profile`, fix);
  },
};
