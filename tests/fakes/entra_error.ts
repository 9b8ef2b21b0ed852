// Stands in for Microsoft Entra ID's error answers, in their shape.
import { randomUUID } from "node:crypto";

/** What a refusal says. */
export interface EntraRefusal {
  readonly error: string;
  /** AADSTS number. */
  readonly number: number;
  readonly text: string;
  readonly suberror?: string;
  /** A claims challenge. */
  readonly claims?: string;
}

/** The JSON of a refusal. */
export function entraError({ error, number, text, suberror, claims }: EntraRefusal): Record<string, unknown> {
  const correlation_id = randomUUID(),
    trace_id = randomUUID(),
    timestamp = new Date().toISOString().replace(/\.\d+/, "");
  return {
    error,
    error_description:
      `AADSTS${number}: ${text} Trace ID: ${trace_id} Correlation ID: ${correlation_id} Timestamp: ${timestamp}`,
    error_codes: [number],
    timestamp,
    trace_id,
    correlation_id,
    error_uri: `https://login.microsoftonline.com/error?code=${number}`,
    ...(suberror && { suberror }),
    ...(claims && { claims }),
  };
}
