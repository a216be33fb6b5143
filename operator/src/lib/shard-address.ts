/** Where a shard's delivery listens. `template` has "{shard}", such as "dovecote-delivery-{shard}.dovecote-delivery:7070". */
export function shardAddress(template: string, shard: string): string {
  return template.replaceAll('{shard}', shard);
}
