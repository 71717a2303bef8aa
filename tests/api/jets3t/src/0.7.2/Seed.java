import org.jets3t.service.CloudFrontService;
import org.jets3t.service.CloudFrontServiceException;
import org.jets3t.service.model.cloudfront.StreamingDistribution;
import org.jets3t.service.model.cloudfront.StreamingDistributionConfig;
import org.jets3t.service.model.S3Bucket;
import org.jets3t.service.security.AWSCredentials;

/**
 * The two calls with which people made a streaming distribution in 2010, word for word as a walk-through of that year has them (only the
 * printing around them, which its page lost, is ours): {@code Seed KEY_ID SECRET BUCKET}.
 */
public final class Seed {
    public static void main(String[] args) throws Exception {
        CloudFrontService cloudFrontService = new CloudFrontService(new AWSCredentials(args[0], args[1]));
        S3Bucket bucket = new S3Bucket(args[2]);

        StreamingDistribution newStreamingDistribution = null;

        try {

            newStreamingDistribution = cloudFrontService.createStreamingDistribution(bucket.getName(), ""+ System.currentTimeMillis(),

            null, "Test streaming distribution", true );

        } catch (CloudFrontServiceException e1) {
            e1.printStackTrace();
            System.exit(1);
        }
        System.out.println("New Streaming Distribution: " + newStreamingDistribution);

        StreamingDistributionConfig streamingDistributionConfig;

        try {

            streamingDistributionConfig = cloudFrontService.getStreamingDistributionConfig(newStreamingDistribution.getId());
            System.out.println("Streaming Distribution Config: "+ streamingDistributionConfig);
            System.out.println("id=" + newStreamingDistribution.getId());

        } catch (CloudFrontServiceException e) {
            e.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }
}
