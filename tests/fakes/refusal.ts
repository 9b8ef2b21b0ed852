/** A request that the broker refuses, with the wire's status. */
import type { BrokerError } from "./behaviour.ts";

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly details: BrokerError;

  constructor(status: number, context: string) {
    super(context);
    this.details = { status, context };
  }
}

/** Statuses by the wire's numbers, which differ from MSALRuntime's from 15 on. */
export const WIRE_STATUS = {
  unexpected: 0,
  interactionRequired: 2,
  contractViolation: 6,
  userCanceled: 7,
  accountUnusable: 13,
  accountNotFound: 19,
} as const;
