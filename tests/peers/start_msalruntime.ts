/** Microsoft's client library, MSALRuntime, as tests hold it: in a process of its own on a private bus. */
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { PrivateBus } from "../fakes/private_bus.ts";

/** What the library is asked for. */
export interface PeerRequest {
  readonly method:
    | "DiscoverAccountsAsync"
    | "SignInSilentlyAsync"
    | "SignInAsync"
    | "SignInInteractivelyAsync"
    | "AcquireTokenSilentlyAsync"
    | "AcquireTokenInteractivelyAsync"
    | "SignOutSilentlyAsync"
    /** Cancels the call that began last. The answer comes before: cancelling waits for the broker. */
    | "CancelAsyncOperation";
  /** User name of an account that was discovered. */
  readonly account?: string;
  /** User name of the person who is to sign in. */
  readonly accountHint?: string;
  /** @default "https://login.microsoftonline.com/common" */
  readonly authority?: string;
  /** Parted by spaces. @default "User.Read" */
  readonly scopes?: string;
  readonly claims?: string;
  readonly accessTokenToRenew?: string;
  readonly pop?: { readonly method: string; readonly host: string; readonly path: string; readonly nonce: string };
  /** More parameters of the authorization request. */
  readonly parameters?: Readonly<Record<string, string>>;
}

/** What the library answers: a refusal, or what there is. */
export interface PeerAnswer {
  readonly error?: PeerError;
  readonly accounts?: readonly PeerAccount[];
  readonly account?: PeerAccount;
  readonly accessToken?: string;
  readonly rawIdToken?: string;
  readonly grantedScopes?: string;
  /** Seconds since 1970. */
  readonly expiresOn?: number;
  readonly authorizationHeader?: string;
}

/** An account by the names that the library has for its parts. */
export interface PeerAccount {
  readonly homeAccountId: string;
  readonly localAccountId: string;
  readonly environment: string;
  readonly realm: string;
  readonly username: string;
  readonly displayName?: string;
}

/** A refusal, its status by the library's numbers. */
export interface PeerError {
  readonly errorStatus: number;
  readonly errorCode: number;
  readonly errorTag: number;
  readonly errorContext: string;
}

export interface MsalRuntime {
  call(request: PeerRequest): Promise<PeerAnswer>;
  /** Ends the process. */
  stop(): Promise<void>;
}

/** The app that the library speaks for. */
export const CLIENT_ID = "11111111-2222-4333-8444-555555555555";

/** The answer of a call, by the number that the call had; 0 is the start. */
export type PeerMessage<T> = { readonly id: number } & T;

/**
 * Starts the library, which looks for the broker at once.
 *
 * @throws {Error} when it cannot be loaded, or there is no broker
 */
export async function startMsalRuntime(bus: PrivateBus): Promise<MsalRuntime> {
  const waiting = new Map<number, PromiseWithResolvers<PeerAnswer>>();
  const child = Bun.spawn([process.execPath, fileURLToPath(new URL("msalruntime_process.ts", import.meta.url))], {
    // No folder of the person's who runs the test, and no display of theirs.
    env: { PATH: process.env.PATH, HOME: join(bus.directory, "home"), DBUS_SESSION_BUS_ADDRESS: bus.address },
    stdio: ["ignore", "inherit", "inherit"],
    ipc: ({ id, ...answer }: PeerMessage<PeerAnswer>) => waiting.get(id)?.resolve(answer),
    onExit() {
      for (const { reject } of waiting.values()) reject(new Error("Microsoft's client has ended"));
    },
  });
  let calls = 0;
  function nextAnswer(): Promise<PeerAnswer> {
    const answer = Promise.withResolvers<PeerAnswer>();
    waiting.set(calls++, answer);
    return answer.promise;
  }
  const { error } = await nextAnswer();
  if (error) throw new Error(`Microsoft's client does not start: ${error.errorContext}`);

  return {
    call(request) {
      child.send({ id: calls, ...request } satisfies PeerMessage<PeerRequest>);
      return nextAnswer();
    },
    async stop() {
      waiting.clear();
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
