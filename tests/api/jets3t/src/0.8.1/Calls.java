import org.jets3t.service.CloudFrontService;
import org.jets3t.service.model.cloudfront.DistributionConfig;
import org.jets3t.service.model.cloudfront.LoggingStatus;
import org.jets3t.service.model.cloudfront.Origin;
import org.jets3t.service.model.cloudfront.S3Origin;
import org.jets3t.service.model.cloudfront.StreamingDistribution;

/** jets3t 0.8.1 (API 2010-11-01): the origin is an object that holds the identity. */
final class Calls {
    private final CloudFrontService service;

    Calls(CloudFrontService service) {
        this.service = service;
    }

    StreamingDistribution create(Driver.Wanted w) throws Exception {
        return w.more
                ? service.createStreamingDistribution(origin(w), w.reference, w.cnames, w.comment, w.enabled, logging(w), w.self, w.signers)
                : service.createStreamingDistribution(origin(w), w.reference, w.cnames, w.comment, w.enabled, null);
    }

    DistributionConfig update(String id, Driver.Wanted w) throws Exception {
        return w.more
                ? service.updateStreamingDistributionConfig(id, origin(w), w.cnames, w.comment, w.enabled, logging(w), w.self, w.signers)
                : service.updateStreamingDistributionConfig(id, origin(w), w.cnames, w.comment, w.enabled, null);
    }

    private static Origin origin(Driver.Wanted w) {
        return w.bucket == null ? null : w.identity == null ? new S3Origin(w.bucket) : new S3Origin(w.bucket, w.identity);
    }

    private static LoggingStatus logging(Driver.Wanted w) {
        return w.logBucket == null ? null : new LoggingStatus(w.logBucket, w.logPrefix);
    }

    String origin(StreamingDistribution one) {
        return name(one.getOrigin());
    }

    String origin(DistributionConfig config) {
        return name(config.getOrigin());
    }

    String identity(DistributionConfig config) {
        return config.getOrigin() instanceof S3Origin ? ((S3Origin) config.getOrigin()).getOriginAccessIdentity() : null;
    }

    private static String name(Origin origin) {
        return origin == null ? null : origin.getDnsName();
    }
}
