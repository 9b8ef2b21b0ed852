/**
 * Checks of the machine and of what runs the program.
 *
 * @module
 */
import { makeFetch } from "../../lib/http/client.ts";
import { proxyFor } from "../../lib/http/proxy.ts";
import { currentRuntime, denoNamespace, isAtLeast, quoteCommand, readEnvironment } from "../../lib/runtime/host.ts";
import { readMachine } from "../../lib/runtime/program.ts";
import { PublicClientApplication } from "../../lib/application.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { asFailure, type Check, failed, type Finding, notChecked, ok } from "./check.ts";

/** Operating system, distribution and processor: what a bug report begins with. */
export const platform: Check = {
  id: "platform",
  limitMs: 2_000,
  async run() {
    const { system, arch, release, distribution, isWsl, missingFlags } = await readMachine();
    const facts = [`${system} ${arch}`, distribution, release, isWsl && "WSL"].filter(Boolean).join(", ");
    if (missingFlags.length === 0) return ok(facts);
    return ok(`${facts}; not checked: what Deno may not look at`, `Run deno with ${quoteCommand(missingFlags)}`);
  },
};

/** The runtime. */
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

/** Where Microsoft Entra ID says what its endpoints are (OpenID Connect Discovery, 4). */
const DOCUMENT = "/v2.0/.well-known/openid-configuration";

/** The way to the server that tokens come from. A broker has its own, and may get there nevertheless. */
export const network: Check = {
  id: "network",
  limitMs: 5_000,
  after: ["silent_token"],
  async run({ authority }, { signal, stateOf }) {
    const finding = notPermitted(authority) ?? await reach(authority, signal);
    if (finding.state !== "failed" || stateOf("silent_token") !== "ok") return finding;
    return { ...finding, state: "unknown", detail: `${finding.detail}; there was a silent token nevertheless` };
  },
};

/** What is found where Deno may not connect to a server. */
function notPermitted(url: string): Finding | undefined {
  const { host } = new URL(url), deno = denoNamespace();
  if (!deno || deno.permissions.querySync({ name: "net", host }).state === "granted") return undefined;
  return notChecked(`Deno may not connect to ${host}`, `Run deno with ${quoteCommand([`--allow-net=${host}`])}`);
}

async function reach(authority: string, signal: AbortSignal): Promise<Finding> {
  const send = makeFetch(), url = new URL(authority), begin = performance.now();
  let isAsked = false;
  const app = new PublicClientApplication({
    ...{ clientId: "latchkey", authority },
    fetch: (url, init) => {
      isAsked = true;
      return send(url, { ...init, signal: AbortSignal.any([signal, ...init.signal ? [init.signal] : []]) });
    },
  });
  try {
    const proxy = proxyFor(url, readEnvironment), way = proxy ? ` through the proxy ${proxy.host}` : "";
    await app.getAuthorizationRequestUrl({ scopes: ["User.Read"] }); // asks whoever's endpoints are not known
    if (!isAsked) {
      const [, tenant] = url.pathname.split(/\/+/); // whatever follows is none of its endpoints
      const { status, body } = await send(`${url.origin}/${tenant}${DOCUMENT}`, { signal });
      await body?.cancel();
      if (status !== 200) {
        return failed(`${url.host} answered${way} that it is no authority (status ${status})`, "Check --authority");
      }
    }
    return ok(`${url.host} answered${way} in ${Math.ceil(performance.now() - begin)} ms`);
  } catch (error) {
    if (error instanceof LatchkeyError && error.code === "missing_dependency") {
      return notChecked(error.message, error.hint); // the proxy's address
    }
    return asFailure(error);
  } finally {
    app.close();
  }
}

/** What Microsoft Entra ID and its resources let pass. */
const TOLERANCE_S = 300;

/** The clock, beside that of the server from which tokens come. Nobody else is asked. */
export const clock: Check = {
  id: "clock",
  limitMs: 3_000,
  async run({ authority }, { signal }) {
    const notAllowed = notPermitted(authority);
    if (notAllowed) return notAllowed;
    const { host, origin } = new URL(authority), begin = Date.now(), date = await serverTime(origin, signal);
    if (date === undefined) return notChecked(`${host} did not say what time it is; is there a network?`);
    const offset = Math.round(((begin + Date.now()) / 2 - date) / 1000);
    const detail = offset === 0
      ? `as that of ${host}`
      : `${Math.abs(offset)} s ${offset > 0 ? "ahead of" : "behind"} ${host}`;
    if (Math.abs(offset) <= TOLERANCE_S) return ok(detail);
    const { isWsl } = await readMachine();
    return failed(detail, isWsl ? "sudo hwclock -s" : "sudo timedatectl set-ntp true");
  },
};

/** In milliseconds since 1970; `undefined` when the server cannot be asked, as from a machine without a network. */
async function serverTime(origin: string, signal: AbortSignal): Promise<number | undefined> {
  try {
    const response = await makeFetch()(origin, { method: "HEAD", signal });
    await response.body?.cancel();
    return Date.parse(response.headers.get("date") ?? "") || undefined;
  } catch {
    return undefined;
  }
}

/** Most of what is wrong says by itself what mends it. */
const MEND = "Mend that file, or choose another profile (--profile, LATCHKEY_PROFILE)";

/** Whether the profile that is named, or the default one, can be read. */
export const profile: Check = {
  id: "profile",
  limitMs: 1000,
  run({ profile: { name, problem } }) {
    if (!problem) return ok(name === undefined ? "none is used" : `options are taken from ${name}`);
    const known = [problem, problem.cause].find((error) => error instanceof LatchkeyError);
    const { detail, fix = MEND } = known ? asFailure(known) : failed(problem.message, MEND);
    return failed(`${detail}; all else was looked at without a profile`, fix);
  },
};
